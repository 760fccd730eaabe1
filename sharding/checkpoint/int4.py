"""Two numbers of 4 bits in a byte: in our files neighbours, in those of llama.cpp and Jlama 16 apart."""

from typing import Any

import numpy as np
import numpy.typing as npt


def pack_int4(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Integers from -8 to 7 [rows, columns] to bytes [rows, columns / 2]."""
    halves = values.astype(np.int8).view(np.uint8)
    return np.asarray(halves[:, ::2] & 0xF | halves[:, 1::2] << 4, np.uint8)


def unpack_int4(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """The inverse of `pack_int4`."""
    lower, upper = (packed << 4).view(np.int8) >> 4, packed.view(np.int8) >> 4
    return np.stack([lower, upper], axis=-1).reshape(len(packed), -1)


def unpack_halves(blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Blocks of numbers, each 8 more than its value: the lower halves of a block's bytes, then the upper ones.

    uint8 [rows, blocks, bytes] to integers from -8 to 7 [rows, numbers].
    """
    numbers = np.concatenate([blocks & 0xF, blocks >> 4], axis=-1).view(np.int8) - np.int8(8)
    return np.asarray(numbers, np.int8).reshape(len(blocks), -1)
