"""The numbers of a model's configuration, checked as they are read, under the names that the file has for them."""

import math

from sharding.checkpoint.errors import CheckpointError

MAX_LAYERS = 1024
"""Of a model; a file that says more is damaged, and would take all memory to describe."""
MAX_SIZE = 2**24
"""Of any axis, and of a context."""


def _shown(value: object) -> str:
    # Of a container only what it is: its text may be far longer than the file that it comes from.
    return repr(value)[:40] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def size(name: str, value: object, at_most: int = MAX_SIZE, least: int = 1) -> int:
    """An integer, from 1 on by default.

    Raises:
      CheckpointError: the value is none, or is more than any model has.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= at_most:
        raise CheckpointError(f"{name}={_shown(value)} is no integer from {least} to {at_most}.")
    return value


def positive(name: str, value: object) -> float:
    """A number above zero.

    Raises:
      CheckpointError: the value is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(f"{name}={_shown(value)} is no positive number.")
    return float(value)
