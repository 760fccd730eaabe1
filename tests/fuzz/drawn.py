"""each_drawn: runs a function with values of a Hypothesis strategy that a seed decides; nothing stops at a fault."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy


def each_drawn[T](strategy: SearchStrategy[T], count: int, drawn_by: int, act: Callable[[T], None]) -> int:
    """Calls `act`, which must not raise, with up to `count` values; how many there were, if there are no more."""
    acted = 0
    if not count:
        return acted

    @seed(drawn_by)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(value: T) -> None:
        nonlocal acted
        if acted < count:
            acted += 1
            act(value)

    with suppress(Unsatisfiable):  # there is no such value
        run()
    return acted
