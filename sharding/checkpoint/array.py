"""ArrayMatrix: a matrix of an array of several axes, that a library reads in chunks."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy.typing as npt

from sharding.checkpoint.matrix import Matrix


@dataclass(frozen=True, kw_only=True)
class ArrayMatrix(Matrix):
    """An array, some leading axes of which are the rows and the others the columns.

    Attributes:
      axes: sizes of the array's axes.
      row_axes: so many of them are rows.
      read_part: reads what one slice per axis says.
      chunk: entries of the first axis that the library reads and decodes together at least.
    """

    axes: tuple[int, ...]
    row_axes: int
    read_part: Callable[[tuple[slice, ...]], npt.NDArray[Any]]
    chunk: int = 1

    def rows_at_once(self, width: int) -> int:
        """See `Matrix`; whole chunks, or each would be read and decoded again for every few rows."""
        chunk_rows = self.chunk * prod(self.axes[1 : self.row_axes]) if self.row_axes else 1
        return max(1, round(super().rows_at_once(width) / chunk_rows)) * chunk_rows

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        row_index, skipped_rows = _cover(self.axes[: self.row_axes], rows)
        column_index, skipped_columns = _cover(self.axes[self.row_axes :], columns)
        part = self.read_part((*row_index, *column_index))
        height = prod(part.shape[: self.row_axes])
        part = part.reshape(height, -1)
        return part[
            skipped_rows : skipped_rows + rows.stop - rows.start,
            skipped_columns : skipped_columns + columns.stop - columns.start,
        ]


def _cover(axes: tuple[int, ...], span: slice) -> tuple[tuple[slice, ...], int]:
    """Slices of axes that cover a span of them as one axis, and how much comes before it."""
    if not axes:
        return (), 0
    inner = prod(axes[1:])
    start, stop = span.start // inner, -(-span.stop // inner)
    return (slice(start, stop), *(slice(0, size) for size in axes[1:])), span.start - start * inner
