"""ByteRange: a matrix that lies in a file as consecutive rows."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.file_bytes import map_bytes, read_bytes
from sharding.checkpoint.matrix import Matrix, matrix_shape


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


@dataclass(frozen=True, kw_only=True)
class ByteRange(Matrix):
    """A tensor as it lies in a file: row-major, encoded along its last axis."""

    offset: int
    encoding: Encoding

    @classmethod
    def of(cls, name: str, file: Path, shape: tuple[int, ...], offset: int, encoding: Encoding) -> Self:
        """A tensor of any number of axes.

        Raises:
          CheckpointError: its rows are no whole number of blocks, or the file ends before it does.
        """
        if shape and shape[-1] % encoding.block:
            raise CheckpointError(
                f"{file}: tensor {name} of shape {shape} is said to be {encoding.name}, "
                f"but its rows are no multiple of {encoding.block} numbers."
            )
        rows, columns = matrix_shape(shape)
        found = cls(name=name, file=file, shape=(rows, columns), type=encoding.name, offset=offset, encoding=encoding)
        size = file.stat().st_size
        if found.end > size:
            raise CheckpointError(
                f"{file}: truncated: tensor {name} ends at byte {found.end}, the file at byte {size}. "
                "Fetch the file again."
            )
        return found

    @property
    def end(self) -> int:
        """The byte of the file behind its last one."""
        return self.offset + prod(self.shape) // self.encoding.block * self.encoding.block_bytes

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        encoding = self.encoding
        first_block, end_block = columns.start // encoding.block, -(-columns.stop // encoding.block)
        skip = columns.start - first_block * encoding.block
        row_bytes = self.shape[1] // encoding.block * encoding.block_bytes
        start, height = self.offset + rows.start * row_bytes, rows.stop - rows.start
        first_byte, end_byte = first_block * encoding.block_bytes, end_block * encoding.block_bytes
        get = read_bytes if end_byte - first_byte == row_bytes else map_bytes
        raw = get(self.file, start, height * row_bytes).reshape(height, row_bytes)
        wanted = raw[:, first_byte:end_byte]
        return encoding.decode(np.ascontiguousarray(wanted))[:, skip : skip + columns.stop - columns.start]


def check_apart(ranges: list[ByteRange]) -> None:
    """Looks that no two tensors of a file share bytes.

    Raises:
      CheckpointError: two do.
    """
    ranges = sorted(ranges, key=lambda each: (each.offset, each.end))
    for one, other in itertools.pairwise(ranges):
        if other.offset < one.end:
            raise CheckpointError(
                f"{one.file}: tensors {one.name} and {other.name} share bytes {other.offset} to "
                f"{min(one.end, other.end) - 1}. Fetch the file again."
            )
