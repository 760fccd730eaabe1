"""LoraUpdate: what an adapter adds to one projection, where it is stored."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sharding.adapters.adapter import AdapterError
from sharding.checkpoint.matrix import Matrix

_LARGEST = 1e4
"""Numbers of trained adapters are below 10; with larger ones than this a step might overflow, for all of its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraUpdate:
    """W becomes W + factor B A (LoRA, arXiv 2106.09685).

    Attributes:
      a: A, [rank, in].
      b: B, [out, rank].
      rank: as the adapter's configuration says; its tensors may say otherwise.
      factor: of the product.
    """

    a: Matrix
    b: Matrix
    rank: int
    factor: float

    def read_a(self, columns: slice) -> npt.NDArray[np.float32]:
        """Some columns of A.

        Raises:
          CheckpointError: it is damaged, or has numbers that no adapter has.
        """
        return _checked(self.a, slice(0, self.rank), columns)

    def read_b(self, rows: slice) -> npt.NDArray[np.float32]:
        """Some rows of factor B.

        Raises:
          CheckpointError: it is damaged, or has numbers that no adapter has.
        """
        return _checked(self.b, rows, slice(0, self.rank)) * np.float32(self.factor)


def _checked(matrix: Matrix, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
    # Not by `Matrix.read`, which waits for the threads that a merged matrix is read by.
    numbers = matrix.numbers(rows, columns).astype(np.float32)
    if not np.abs(numbers).max() <= _LARGEST:  # NaN is not
        raise AdapterError(
            f"{matrix.file}: tensor {matrix.name} has numbers above {_LARGEST:g} or none at all: it is damaged."
        )
    return numbers
