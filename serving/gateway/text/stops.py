"""StopTexts: ends a text at the first of the client's stop texts, while the text still grows."""

from collections.abc import Sequence


class StopTexts:
    """A filter that lets a growing text through up to the stop text that is complete first.

    What could turn out to be the beginning of a stop text is held back until that is known.

    Attributes:
      stopped: a stop text was met; the text before it is complete.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        self._held += text
        found = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found)[1])
        return self._release(len(self._held) - max((self._overlap(stop) for stop in self._stops), default=0))

    def flush(self) -> str:
        """What was held back, now that the text grows no more."""
        return self._release(len(self._held))

    def _overlap(self, stop: str) -> int:
        """How many of the last characters held are the first ones of a stop text."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if stop.startswith(self._held[-n:])), 0)

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], "" if self.stopped else self._held[length:]
        return released
