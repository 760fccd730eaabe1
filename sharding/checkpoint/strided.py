"""StridedMatrix: a matrix that lies in a file at fixed steps between rows and between columns."""

import itertools
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.file_bytes import map_bytes, read_bytes
from sharding.checkpoint.matrix import Matrix


@dataclass(frozen=True, kw_only=True)
class StridedMatrix(Matrix):
    """A tensor of PyTorch: numbers of one type at offset + row * row_stride + column * column_stride.

    Attributes:
      offset: byte of the file where its first number begins.
      dtype: of its numbers.
      axes: its shape in the file, of any number of axes; `shape` has all but the last one as rows.
      strides: from row to row and from column to column, in numbers; not negative.
    """

    offset: int
    dtype: np.dtype[Any]
    axes: tuple[int, ...]
    strides: tuple[int, int]

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if 0 in shape:
            return np.empty(shape, self.dtype)
        row_stride, column_stride = self.strides
        first = rows.start * row_stride + columns.start * column_stride
        last = (rows.stop - 1) * row_stride + (columns.stop - 1) * column_stride
        offset, count = self.offset + first * self.dtype.itemsize, last - first + 1
        get = read_bytes if count == prod(shape) else map_bytes
        numbers = get(self.file, offset, count * self.dtype.itemsize).view(self.dtype)
        strides = (row_stride * self.dtype.itemsize, column_stride * self.dtype.itemsize)
        return np.lib.stride_tricks.as_strided(numbers, shape, strides, writeable=False)


def row_and_column_stride(axes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int] | None:
    """The strides of a tensor whose leading axes are put together as rows; None: no one stride leads through them."""
    leading = [(size, stride) for size, stride in zip(axes[:-1], strides[:-1], strict=True) if size != 1]
    for (_, outer), (size, inner) in itertools.pairwise(leading):
        if outer != size * inner:
            return None
    return (leading[-1][1] if leading else 0), (strides[-1] if strides else 1)
