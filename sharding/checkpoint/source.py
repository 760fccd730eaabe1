"""TensorSource: one parameter in a checkpoint file, read slice by slice."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError

BLOCK_BYTES = 2 * 2**20
"""Decoded bytes that a thread holds at a time while reading: what reading costs in memory besides its result."""

INTEGERS = frozenset({"I8", "I4"})
"""Names of encodings whose numbers mean nothing without scales."""

_DECODERS = ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="decode")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the numbers of a row lie in a file.

    Attributes:
      name: as the file format calls it (`BF16`, `Q4_K`).
      block: that many consecutive numbers are encoded together.
      block_bytes: the bytes they take.
      decode: `uint8[rows, bytes]` of whole blocks to numbers `[rows, bytes / block_bytes * block]`.
    """

    name: str
    block: int
    block_bytes: int
    decode: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor as it lies in a file: row-major, encoded along its last axis.

    Raises:
      CheckpointError: if its rows are no whole number of blocks, or the file ends before it does.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    offset: int
    encoding: Encoding

    def __post_init__(self) -> None:
        if self.shape and self.shape[-1] % self.encoding.block:
            raise CheckpointError(
                f"{self.file}: tensor {self.name} of shape {self.shape} is said to be {self.encoding.name}, "
                f"but its rows are no multiple of {self.encoding.block} numbers."
            )
        size = self.file.stat().st_size
        if self.offset + self.nbytes > size:
            raise CheckpointError(
                f"{self.file}: truncated: tensor {self.name} ends at byte {self.offset + self.nbytes}, the file at "
                f"byte {size}. Fetch the file again."
            )

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) // self.encoding.block * self.encoding.block_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSource:
    """A parameter of the model and where it is stored.

    Attributes:
      stored: the tensor in the file: a matrix, or a vector for `row_axes` 0.
      shape: the shape of our parameter.
      row_axes: so many leading axes of `shape` are the rows of the stored matrix, the others its columns.
    """

    stored: StoredTensor
    shape: tuple[int, ...]
    row_axes: int

    @property
    def name(self) -> str:
        """The tensor's name in the file."""
        return self.stored.name

    @property
    def file(self) -> Path:
        """The file that holds it."""
        return self.stored.file

    def read(self, index: tuple[slice, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """Reads `parameter[index]` as `dtype`, touching no other rows or columns of the file.

        Args:
          index: one slice per axis of `shape`, with step 1; a missing one is the whole axis.
          dtype: of the result. Numbers are decoded and cast block by block.
        """
        bounds = [range(size)[part] for size, part in zip(self.shape, _full(index, len(self.shape)), strict=True)]
        row_axes, column_axes = _Axes(self.shape, bounds, 0, self.row_axes), _Axes(self.shape, bounds, self.row_axes)
        matrix = self._read_matrix(row_axes.span, column_axes.span, dtype)
        covering = matrix.reshape(row_axes.covering_shape + column_axes.covering_shape)
        return covering[row_axes.rest + column_axes.rest]

    def _read_matrix(self, rows: slice, columns: slice, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        encoding = self.stored.encoding
        first_block, end_block = columns.start // encoding.block, -(-columns.stop // encoding.block)
        skip = columns.start - first_block * encoding.block
        width = columns.stop - columns.start
        row_bytes = prod(self.shape[self.row_axes :]) // encoding.block * encoding.block_bytes
        wanted = slice(first_block * encoding.block_bytes, end_block * encoding.block_bytes)

        out = np.empty((rows.stop - rows.start, width), dtype)
        if out.size == 0:
            return out
        step = max(1, BLOCK_BYTES // (4 * max(width, 1)))

        def decode(start: int) -> None:
            stop = min(start + step, rows.stop)
            # Mapped anew for every block, so that pages of the file do not add up in this process's memory.
            raw = np.memmap(
                self.file, np.uint8, "r", self.stored.offset + start * row_bytes, shape=(stop - start, row_bytes)
            )
            numbers = encoding.decode(np.ascontiguousarray(raw[:, wanted]))
            out[start - rows.start : stop - rows.start] = numbers[:, skip : skip + width]

        for _ in _DECODERS.map(decode, range(rows.start, rows.stop, step)):
            pass  # the first error is raised here
        return out


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
