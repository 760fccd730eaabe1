"""TensorSource: one parameter of the model and the matrix that it is read from."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.matrix import Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSource:
    """A parameter of the model and where it is stored.

    Attributes:
      matrix: the tensor in the file.
      shape: the shape of our parameter.
      row_axes: so many leading axes of `shape` are the rows of the matrix, the others its columns.
    """

    matrix: Matrix
    shape: tuple[int, ...]
    row_axes: int

    @property
    def name(self) -> str:
        """The tensor's name in the file."""
        return self.matrix.name

    @property
    def file(self) -> Path:
        """The file that holds it."""
        return self.matrix.file

    def read(self, index: tuple[slice, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """Reads `parameter[index]` as `dtype`, touching no other rows or columns of the file.

        Args:
          index: one slice per axis of `shape`, with step 1; a missing one is the whole axis.
          dtype: of the result. Numbers are decoded and cast block by block.

        Raises:
          CheckpointError: the file is damaged, or has a number that is not finite.
        """
        bounds = [range(size)[part] for size, part in zip(self.shape, _full(index, len(self.shape)), strict=True)]
        row_axes, column_axes = _Axes(self.shape, bounds, 0, self.row_axes), _Axes(self.shape, bounds, self.row_axes)
        matrix = self.matrix.read(row_axes.span, column_axes.span, dtype)
        covering = matrix.reshape(row_axes.covering_shape + column_axes.covering_shape)
        return covering[row_axes.rest + column_axes.rest]


class _Axes:
    """Some neighbouring axes, stored as one: the contiguous span that covers a slice, and the rest of the slicing."""

    def __init__(self, shape: tuple[int, ...], bounds: list[range], start: int, stop: int | None = None) -> None:
        inner_shape, inner_bounds = shape[start:stop][1:], bounds[start:stop][1:]
        outer = bounds[start] if shape[start:stop] else range(1)
        stride = prod(inner_shape)
        self.span = slice(outer.start * stride, max(outer.start, outer.stop) * stride)
        self.covering_shape = (len(outer), *inner_shape) if shape[start:stop] else ()
        self.rest = tuple(slice(part.start, part.stop) for part in (range(len(outer)), *inner_bounds))
        self.rest = self.rest[: len(self.covering_shape)]


def _full(index: tuple[slice, ...], axes: int) -> tuple[slice, ...]:
    return (*index, *(slice(None),) * (axes - len(index)))
