"""PredictTime: ends an answer that takes too long, once it has a line to show."""

import time
from collections.abc import Callable


class PredictTime:
    """A filter that lets a growing text through for so long, and then up to the piece with which it has a line break.

    Whoever waits at a cursor would rather see the first lines. The time begins with the first text: before that, there
    is nothing to see. (llama.cpp's `t_max_predict_ms`.)

    Attributes:
      stopped: the time is over.
      skipped: nothing is left out before what is shown.
    """

    skipped = 0

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.stopped = False
        self._limit_s = limit_s
        self._clock = clock
        self._first_at: float | None = None
        self._has_line = False

    def feed(self, text: str) -> str:
        """All of it; the last, if the time is over."""
        now = self._clock()
        if text and self._first_at is None:
            self._first_at = now
        self._has_line = self._has_line or "\n" in text
        self.stopped = self._has_line and self._first_at is not None and now - self._first_at > self._limit_s
        return text

    def flush(self) -> str:
        """Nothing is held back."""
        return ""
