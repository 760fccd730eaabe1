"""StopTexts: ends a text at the first of the client's stop texts, while the text still grows."""

from collections.abc import Sequence


class StopTexts:
    """A filter that lets a growing text through up to the stop text that is complete first.

    What could turn out to be the beginning of a stop text is held back until that is known. Each character is looked
    at once for each stop text, however long both are.

    Attributes:
      stopped: a stop text was met; the text before it is complete.
      met: which; empty before.
      skipped: nothing is left out before what is shown.
      added: nothing is shown that the text did not have.
    """

    skipped = 0
    added = 0

    def __init__(self, stops: Sequence[str]) -> None:
        """Empty stop texts are met nowhere."""
        self._stops = tuple(map(_StopText, filter(None, stops)))
        self._held = ""
        self.stopped = False
        self.met = ""

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        before = len(self._held)
        self._held += text
        ends = [(before + end, stop.text) for stop in self._stops if (end := stop.feed(text))]
        if ends:
            self.stopped = True
            end, self.met = min(ends, key=lambda met: (met[0], -len(met[1])))
            return self._release(end - len(self.met))
        return self._release(len(self._held) - max((stop.begun for stop in self._stops), default=0))

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], "" if self.stopped else self._held[length:]
        return released


class _StopText:
    """One stop text and how much of it a growing text ends with (Knuth, Morris and Pratt 1977).

    Attributes:
      text: the stop text.
      begun: how many of the text's last characters are the first ones of the stop text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.begun = 0
        self._borders = [0, 0]  # [n]: of the first n characters, how many of the last are the first; made as needed

    def feed(self, text: str) -> int:
        """After how many of these characters the stop text is complete for the first time; 0 if it is not."""
        if not self.begun and self.text[0] not in text:
            return 0
        for position, character in enumerate(text, start=1):
            while self.begun and self.text[self.begun] != character:
                self.begun = self._border(self.begun)
            self.begun += self.text[self.begun] == character
            if self.begun == len(self.text):
                return position
        return 0

    def _border(self, length: int) -> int:
        while len(self._borders) <= length:
            character = self.text[len(self._borders) - 1]
            border = self._borders[-1]
            while border and self.text[border] != character:
                border = self._borders[border]
            self._borders.append(border + (self.text[border] == character))
        return self._borders[length]
