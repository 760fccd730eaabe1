"""The blocks of a GGUF that are groups of ours: values and scales in turns.

Layout: ggml/src/ggml-common.h of https://github.com/ggml-org/llama.cpp. A block of 32 begins with its scale, a float16.
In Q8_0 32 signed bytes follow; in Q4_0 16 bytes, of which byte i has number i in its lower half and i + 16 in its upper
one, each 8 more than the value.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.byte_range import ByteRange, Encoding
from sharding.checkpoint.grouped import GroupedMatrix
from sharding.checkpoint.int4 import unpack_halves
from sharding.checkpoint.matrix import Matrix
from sharding.quantization import GROUP, Quantization

_SCALE_BYTES = 2


def _blocks(raw: npt.NDArray[np.uint8], block_bytes: int) -> npt.NDArray[np.uint8]:
    return raw.reshape(len(raw), -1, block_bytes)


def _q8_values(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(_blocks(raw, 34)[..., _SCALE_BYTES:]).view(np.int8).reshape(len(raw), -1)


def _q4_values(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    return unpack_halves(_blocks(raw, 18)[..., _SCALE_BYTES:])


def _scales(raw: npt.NDArray[np.uint8], block_bytes: int) -> npt.NDArray[Any]:
    return np.ascontiguousarray(_blocks(raw, block_bytes)[..., :_SCALE_BYTES]).view("<f2")[..., 0]


_GROUPED = {
    "Q8_0": (
        Quantization.INT8_GROUPS,
        Encoding("I8", GROUP, 34, _q8_values),
        Encoding("F16", 1, 34, lambda raw: _scales(raw, 34)),
    ),
    "Q4_0": (
        Quantization.INT4,
        Encoding("I4", GROUP, 18, _q4_values),
        Encoding("F16", 1, 18, lambda raw: _scales(raw, 18)),
    ),
}
"""By the file's name for it: what holds it, and how values and scales are decoded from the same bytes."""


def grouped(tensor: ByteRange) -> Matrix:
    """A tensor as values and scales, if it is stored so; otherwise as it is."""
    if tensor.type not in _GROUPED:
        return tensor
    quantization, values, scales = _GROUPED[tensor.type]
    rows, columns = tensor.shape
    return GroupedMatrix(
        name=tensor.name,
        file=tensor.file,
        shape=tensor.shape,
        type=tensor.type,
        values=replace(tensor, encoding=values, type=values.name),
        scales=replace(tensor, encoding=scales, type=scales.name, shape=(rows, columns // GROUP)),
        quantization=quantization,
    )
