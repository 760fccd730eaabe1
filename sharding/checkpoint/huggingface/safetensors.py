"""Safetensors files: a header in JSON, and tensors without holes.

Format: https://github.com/huggingface/safetensors#format. Quantised ones of our own making (`writer`): a matrix is I8,
or two numbers of 4 bits in each byte of U8, and its scales are F32 under its name and `_scale`; `config.json` says so
in `quantization_config`.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.int4 import unpack_int4


def _plain(name: str, dtype: npt.DTypeLike) -> Encoding:
    numbers = np.dtype(dtype)
    return Encoding(name=name, block=1, block_bytes=numbers.itemsize, decode=lambda raw: raw.view(numbers))


PLAIN = {
    encoding.name: encoding
    for encoding in (
        _plain("F32", np.float32),
        _plain("F16", np.float16),
        _plain("BF16", ml_dtypes.bfloat16),
        _plain("I8", np.int8),
    )
}
"""By the header's name for it."""
_PACKED_INT4 = "U8"
_OURS = {_PACKED_INT4: Encoding(name="I4", block=2, block_bytes=1, decode=unpack_int4)}
_MAX_HEADER = 100 * 2**20
"""The format's own limit."""


def begins_as_safetensors(file: Path) -> bool:
    """Whether a path is a file that begins with a header of this format."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        prefix = opened.read(9)
    return len(prefix) == 9 and 2 <= struct.unpack("<Q", prefix[:8])[0] <= _MAX_HEADER and prefix[8:] == b"{"


def read_header(file: Path, encodings: Mapping[str, Encoding] = PLAIN | _OURS) -> dict[str, ByteRange]:
    """The tensors of one safetensors file, by name.

    Args:
      file: to read.
      encodings: of numbers, by their names in the header.

    Raises:
      CheckpointError: it is corrupt, or has other numbers.
    """
    entries, data_start = read_entries(file)
    try:
        tensors = {name: _stored_tensor(file, name, entry, data_start, encodings) for name, entry in entries.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _corrupt(file, error) from error
    _check_whole(file, list(tensors.values()), data_start, file.stat().st_size)
    return tensors


def read_entries(file: Path) -> tuple[dict[str, Any], int]:
    """What a header says of each tensor, as it says it, and the byte at which their data begin.

    Raises:
      CheckpointError: it is no header.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        prefix = opened.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= _MAX_HEADER:
            raise CheckpointError(f"{file}: no safetensors file: its header is said to have {length} bytes.")
        if 8 + length > size:
            raise CheckpointError(f"{file}: truncated: the header ends at byte {8 + length}, the file at byte {size}.")
        text = opened.read(length)
    try:
        header = json.loads(text)
        return {name: entry for name, entry in header.items() if name != "__metadata__"}, 8 + length
    except (AttributeError, ValueError, RecursionError) as error:
        raise _corrupt(file, error) from error


def _corrupt(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{file}: corrupt safetensors header: {repr(error)[:200]}.")


def _stored_tensor(
    file: Path, name: str, entry: Mapping[str, Any], data_start: int, encodings: Mapping[str, Encoding]
) -> ByteRange:
    kind = entry["dtype"]
    encoding = encodings.get(kind)
    if encoding is None:
        raise CheckpointError(f"{file}: tensor {name} has the type {kind}; {', '.join(encodings)} are supported.")
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if any(isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in (begin, end, *shape)):
        axes, offsets = (repr(entry[field])[:100] for field in ("shape", "data_offsets"))
        raise CheckpointError(
            f"{file}: tensor {name} has the shape {axes} and the data_offsets {offsets}: no integers from 0 on."
        )
    if kind == _PACKED_INT4:
        if not shape:
            raise CheckpointError(f"{file}: tensor {name} is {kind}, two numbers in a byte, and has no axes.")
        shape = (*shape[:-1], 2 * shape[-1])
    tensor = ByteRange.of(name, file, shape, data_start + begin, encoding)
    if tensor.end - tensor.offset != end - begin:
        raise CheckpointError(
            f"{file}: tensor {name} of shape {shape} takes {tensor.end - tensor.offset} bytes as {kind}, "
            f"but the header gives it bytes {begin} to {end}."
        )
    return tensor


def _check_whole(file: Path, tensors: list[ByteRange], start: int, end: int) -> None:
    """Looks that the tensors fill the file; the format allows no holes.

    Raises:
      CheckpointError: they do not.
    """
    check_apart(tensors)
    for tensor in sorted(tensors, key=lambda each: (each.offset, each.end)):
        if tensor.offset != start:
            raise CheckpointError(
                f"{file}: nothing describes bytes {start} to {tensor.offset - 1}, before {tensor.name}."
            )
        start = tensor.end
    if start != end:
        raise CheckpointError(f"{file}: nothing describes its last {end - start} bytes. Fetch the file again.")
