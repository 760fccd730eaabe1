"""Matrix: the numbers of a stored tensor, read in parts, whatever way they are stored."""

import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError

BLOCK_BYTES = 2 * 2**20
"""Decoded bytes that a thread holds at a time while reading: what reading costs in memory besides its result."""

INTEGERS = frozenset({"I8", "I4"})
"""Names of types whose numbers mean nothing without scales."""

_READERS = ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="read")
_ALIGNMENT = 64
_INFINITY = {np.dtype(dtype): np.array(np.inf, dtype) for dtype in (np.float32, np.float16, ml_dtypes.bfloat16)}
"""Of a floating-point type; its bits, and all above them but the sign, are of no finite number."""


@dataclass(frozen=True, kw_only=True)
class Matrix(ABC):
    """Rows and columns of numbers in a file. A vector is one row.

    Attributes:
      name: of the tensor, in the file's words.
      file: where it lies, or the directory of many chunks.
      shape: (rows, columns).
      type: of its numbers, in the file's words (`BF16`, `Q4_K`).
    """

    name: str
    file: Path
    shape: tuple[int, int]
    type: str

    @abstractmethod
    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Returns a part as it is stored, decoded, in any dtype; slices have both ends and step 1.

        Raises:
          CheckpointError: the file is damaged.
        """

    def rows_at_once(self, width: int) -> int:
        """How many rows of so many columns `read` asks for at a time."""
        return max(1, BLOCK_BYTES // (4 * max(width, 1)))

    def read(self, rows: slice, columns: slice, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns a part, [rows, columns], cast block by block; blocks are read side by side.

        Raises:
          CheckpointError: the file is damaged, or has a number that is not finite.
        """
        out = empty_aligned((rows.stop - rows.start, columns.stop - columns.start), dtype)
        if out.size == 0:
            return out
        step = self.rows_at_once(out.shape[1])

        def read_block(start: int) -> None:
            stop = min(start + step, rows.stop)
            block = out[start - rows.start : stop - rows.start]
            try:
                block[:] = self.numbers(slice(start, stop), columns)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise CheckpointError(
                    f"{self.file}: tensor {self.name} cannot be read: {reason}. Did the file change while it was read?"
                ) from error
            if not _is_finite(block):
                raise CheckpointError(
                    f"{self.file}: tensor {self.name} has numbers that are not finite in rows {start} to {stop - 1}. "
                    "Fetch the file again."
                )

        for _ in _READERS.map(read_block, range(rows.start, rows.stop, step)):
            pass  # the first error is raised here
        return out


def empty_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Memory for numbers, where JAX's CPU backend wants it: what begins elsewhere it copies."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor: all axes but the last one are rows."""
    return prod(shape[:-1]), shape[-1] if shape else 1


def _is_finite(block: npt.NDArray[Any]) -> bool:
    infinity = _INFINITY.get(block.dtype)
    if infinity is None:
        return True  # integers
    # Compared as integers: NumPy looks at ml_dtypes' numbers one by one.
    bits = np.dtype(f"u{block.dtype.itemsize}")
    magnitude = np.left_shift(block.view(bits), 1)  # without the sign
    return bool(magnitude.max() < np.left_shift(infinity.view(bits), 1))
