"""PredictTime: when an answer has taken too long, and has a line to show."""

import time
from collections.abc import Callable


class PredictTime:
    """The time that a growing text may take; at a cursor, the first lines in time are worth more than all of them.

    It begins with the first text: before that, there is nothing to see. (llama.cpp's `t_max_predict_ms`.)
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._limit_s = limit_s
        self._clock = clock
        self._first_at: float | None = None
        self._has_line = False

    def is_over(self, text: str) -> bool:
        """Whether the text is to end, after it has grown by this much: the time is over and it has a line break."""
        now = self._clock()
        if text and self._first_at is None:
            self._first_at = now
        self._has_line = self._has_line or "\n" in text
        return self._has_line and self._first_at is not None and now - self._first_at > self._limit_s
