"""quantile: the nearest rank, for everything that is measured request by request."""

from collections.abc import Sequence
from math import ceil

_ROUNDING = 1e-9
"""Of a rank: 0.07 of 100 values are 7.000000000000001 in floating point."""


def quantile(ascending: Sequence[float], q: float) -> float | None:
    """The smallest value that at least the part `q`, 0 to 1, of the values do not exceed; None of nothing."""
    return ascending[max(0, ceil(q * len(ascending) - _ROUNDING) - 1)] if ascending else None
