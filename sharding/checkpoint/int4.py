"""Two numbers of 4 bits in a byte, the first one in its lower half."""

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
