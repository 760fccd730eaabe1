"""Adapters merged into a checkpoint: its projections become W + factor B A, block by block as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sharding.adapters.stored import StoredAdapter
from sharding.adapters.update import LoraUpdate
from sharding.checkpoint.checkpoint import Checkpoint
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.quantised import QuantisedSource

_ROWS_OF_RANK = 8
"""So many rows for each of A's are computed at a time: A, which is read for each block of rows, then costs little."""


@dataclass(frozen=True, kw_only=True)
class Merged(Matrix):
    """A matrix W, to which an adapter adds."""

    matrix: Matrix
    update: LoraUpdate

    @classmethod
    def of(cls, matrix: Matrix, update: LoraUpdate) -> Self:
        """Adds to one of the shape of B A."""
        return cls(
            name=matrix.name, file=matrix.file, shape=matrix.shape, type=matrix.type, matrix=matrix, update=update
        )

    def rows_at_once(self, width: int) -> int:
        """See `Matrix`."""
        return max(self.matrix.rows_at_once(width), _ROWS_OF_RANK * self.update.rank)

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`; float32."""
        added: npt.NDArray[np.float32] = self.update.read_b(rows) @ self.update.read_a(columns)
        return self.matrix.numbers(rows, columns).astype(np.float32) + added


def merged(checkpoint: Checkpoint, adapters: Sequence[StoredAdapter]) -> Checkpoint:
    """Returns a checkpoint into which adapters are merged, one after the other; what is quantised is decoded for that.

    Raises:
      AdapterError: one is of another model; names file and tensor.
    """
    tensors = dict(checkpoint.tensors)
    for adapter in adapters:
        for path, update in adapter.updates(checkpoint.config).items():
            source = tensors[path]
            source = source.dequantised() if isinstance(source, QuantisedSource) else source
            tensors[path] = replace(source, matrix=Merged.of(source.matrix, update))
    return replace(checkpoint, tensors=tensors)
