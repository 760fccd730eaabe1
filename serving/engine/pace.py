"""Pace: how long a step takes at present; a loop of several on the device counts as several."""

from collections import deque

_WINDOW = 64
"""Steps over which the mean forgets: about a second or two, so that it follows the load but not a single step."""

_FIRST_STEPS = 4
"""Steps before there is a mean: the very first may be slow, and one refused on their account is refused wrongly."""

_REMEMBERED = 4
"""Steps of a size by which the next one is judged."""

_KEPT = 10_000
"""Steps that are kept until `take`: more than a minute of them."""


class Pace:
    """A running mean of the seconds of recent steps. One thread adds, any may read."""

    def __init__(self) -> None:
        self._steps = 0
        self._mean_s = 0.0
        self._taken: deque[float] = deque(maxlen=_KEPT)
        self._at_most: dict[int, deque[float]] = {}
        self._at_least: dict[int, deque[float]] = {}

    def add(self, seconds: float, rounds: int, tokens: int, *, exact: bool) -> None:
        """Counts steps: the plain mean at first, an exponential one from `_WINDOW` steps on.

        Args:
          seconds: of all of them.
          rounds: how many there were, alike, in one loop.
          tokens: computed in each.
          exact: False if they may have ended before that was noticed.
        """
        each, size = seconds / rounds, tokens.bit_length()
        self._at_most.setdefault(size, deque(maxlen=_REMEMBERED)).append(each)
        self._at_least.setdefault(size, deque(maxlen=_REMEMBERED)).append(each if exact else 0.0)
        for _ in range(rounds):
            self._steps += 1
            self._mean_s += (each - self._mean_s) / min(self._steps, _WINDOW)
            self._taken.append(each)

    def at_most_s(self, tokens: int) -> float | None:
        """Seconds that a step of about so many tokens takes when nothing disturbs it; None while there was none."""
        return min(self._at_most.get(tokens.bit_length(), ()), default=None)

    def at_least_s(self, tokens: int) -> float:
        """Seconds that such a step surely takes; 0 while that is not known."""
        return min(self._at_least.get(tokens.bit_length(), ()), default=0.0)

    def take(self) -> list[float]:
        """The seconds of each step since the last call, of 10 000 at most; for one caller."""
        return [self._taken.popleft() for _ in range(len(self._taken))]

    @property
    def step_s(self) -> float | None:
        """Mean seconds of a step; None until a few were counted."""
        return self._mean_s if self._steps >= _FIRST_STEPS else None
