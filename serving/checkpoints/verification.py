"""Verification: are all numbers of stored tensors there, and finite?"""

from collections.abc import Callable, Sequence
from math import prod

from sharding.checkpoint import CheckpointError
from sharding.checkpoint.matrix import Matrix

_NUMBERS_AT_ONCE = 2**25

type OnProgress = Callable[[int, int], None]
"""Called with what is done and with what there is to do, in numbers or in bytes."""


def unreadable(matrices: Sequence[Matrix], on_progress: OnProgress) -> list[str]:
    """Reads all numbers; says of each tensor what is wrong."""
    problems: list[str] = []
    total, done = sum(prod(matrix.shape) for matrix in matrices), 0
    for matrix in matrices:
        try:
            _read(matrix)
        except (CheckpointError, OSError, ValueError) as error:
            problems.append(str(error))
        done += prod(matrix.shape)
        on_progress(done, total)
    return problems


def _read(matrix: Matrix) -> None:
    rows, columns = matrix.shape
    step = max(1, _NUMBERS_AT_ONCE // max(columns, 1))
    for start in range(0, rows, step):
        matrix.read(slice(start, min(start + step, rows)), slice(0, columns), "float32")
