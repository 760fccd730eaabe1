"""The header of a GGUF file: its metadata, and where its tensors lie.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.source import Encoding, StoredTensor

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""`struct` codes of the metadata types."""
_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
      metadata: values by key, without arrays of strings (they are the tokenizer's, and large).
      tensors: by name; shapes are `[out, in]`, the reverse of the file's order.
    """

    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


def read_gguf_header(file: Path) -> GgufHeader:
    """Reads the header; milliseconds where `gguf.GGUFReader` takes many seconds over a vocabulary.

    Raises:
      CheckpointError: the file is no GGUF, or its header is corrupt, or it ends before its tensors do.
    """
    if file.stat().st_size < len(_MAGIC):
        raise CheckpointError(f"{file}: no GGUF file: it has {file.stat().st_size} bytes.")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != _MAGIC:
            raise CheckpointError(f"{file}: no GGUF file: it begins with {data[:4]!r}.")
        cursor = _Cursor(data)
        try:
            return _read_header(file, cursor)
        except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{file}: truncated or corrupt GGUF header near byte {cursor.offset} of {len(data)}: {error!r}. "
                "Fetch the file again."
            ) from error


def _read_header(file: Path, cursor: "_Cursor") -> GgufHeader:
    cursor.offset = len(_MAGIC)
    version = cursor.scalar("I")
    if version not in _VERSIONS:
        raise CheckpointError(f"{file}: GGUF version {version} is not supported; {_VERSIONS} are, little-endian.")
    tensor_count, metadata_count = cursor.scalar("Q"), cursor.scalar("Q")
    metadata = {}
    for _ in range(metadata_count):
        key, kind = cursor.string(), cursor.scalar("I")
        value = cursor.value(kind)
        if value is not None:
            metadata[key] = value
    infos = [
        (cursor.string(), cursor.array(cursor.scalar("I"), "Q"), cursor.scalar("I"), cursor.scalar("Q"))
        for _ in range(tensor_count)
    ]
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise CheckpointError(f"{file}: general.alignment={alignment!r} is not a positive integer.")
    data_start = -(-cursor.offset // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for name, dimensions, kind, offset in infos:
        if name in tensors:
            raise CheckpointError(f"{file}: tensor {name} is there twice.")
        tensors[name] = StoredTensor(
            name=name,
            file=file,
            shape=tuple(reversed(dimensions)),
            offset=data_start + offset,
            encoding=_encoding(file, name, kind),
        )
    return GgufHeader(metadata, tensors)


def _encoding(file: Path, name: str, kind: int) -> Encoding:
    try:
        quantization = gguf.GGMLQuantizationType(kind)
        block, block_bytes = gguf.GGML_QUANT_SIZES[quantization]
        decode = partial(gguf.quants.dequantize, qtype=quantization)
        decode(np.zeros((1, block_bytes), np.uint8))
    except (ValueError, KeyError, NotImplementedError) as error:
        raise CheckpointError(f"{file}: tensor {name} has a type that cannot be decoded: {error}.") from error
    return Encoding(name=quantization.name, block=block, block_bytes=block_bytes, decode=decode)


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.offset = 0

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._data, self.offset)
        self.offset += struct.calcsize(f"<{code}")
        return value

    def string(self) -> str:
        (text,) = struct.unpack_from(f"<{self.scalar('Q')}s", self._data, self.offset)
        self.offset += len(text)
        return str(text, "utf-8")

    def array(self, count: int, code: str) -> list[Any]:
        values = struct.unpack_from(f"<{count}{code}", self._data, self.offset)
        self.offset += struct.calcsize(f"<{count}{code}")
        return list(values)

    def value(self, kind: int) -> Any:
        """A metadata value; None for arrays of strings and of arrays, which are stepped over."""
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        item_kind, count = self.scalar("I"), self.scalar("Q")
        if item_kind == _STRING:
            self._skip_strings(count)
            return None
        if item_kind == _ARRAY:
            for _ in range(count):
                self.value(_ARRAY)
            return None
        return self.array(count, _SCALARS[item_kind])

    def _skip_strings(self, count: int) -> None:
        unpack, data, offset = struct.Struct("<Q").unpack_from, self._data, self.offset
        for _ in range(count):
            offset += 8 + unpack(data, offset)[0]
        self.offset = offset
