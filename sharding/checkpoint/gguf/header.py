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
import numpy.typing as npt

from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""`struct` codes of the metadata types."""
_DEFAULT_ALIGNMENT = 32
_MAX_STRINGS = 2**22
"""Of an array: a vocabulary has a tenth of it."""
_MAX_DEPTH = 4
"""Of arrays in arrays; no key has any."""


@dataclass(frozen=True, slots=True)
class StringArray:
    """Strings in the metadata, which are read on demand: a vocabulary takes a second.

    Attributes:
      file: that has them.
      offset: the byte at which the first begins.
      count: how many there are.
    """

    file: Path
    offset: int
    count: int

    def read(self) -> list[str]:
        """All of them.

        Raises:
          CheckpointError: one is no UTF-8.
        """
        with self.file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(self.file, data, self.offset)
            try:
                return [cursor.string() for _ in range(self.count)]
            except (struct.error, UnicodeDecodeError, OverflowError) as error:
                raise corrupt(self.file, cursor.offset, error) from error


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
      metadata: values by key; arrays are NumPy's, or `StringArray`s.
      tensors: by name, `[out, in]`: the reverse of the file's order.
    """

    metadata: dict[str, Any]
    tensors: dict[str, ByteRange]


def is_gguf(file: Path) -> bool:
    """Whether a path is a file that begins as one."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC


def read_gguf_header(file: Path) -> GgufHeader:
    """Reads the header; milliseconds where `gguf.GGUFReader` takes many seconds over a vocabulary.

    Raises:
      CheckpointError: the header is corrupt, or the file ends before its tensors do.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(file, data, len(_MAGIC))
        try:
            return _read_header(file, cursor)
        except (struct.error, UnicodeDecodeError, KeyError, ValueError, OverflowError) as error:
            raise corrupt(file, cursor.offset, error) from error


def corrupt(file: Path, offset: int, error: Exception) -> CheckpointError:
    """The error of a header that cannot be read."""
    return CheckpointError(
        f"{file}: truncated or corrupt GGUF header near byte {offset} of {file.stat().st_size}: {error!r}. "
        "Fetch the file again."
    )


def _read_header(file: Path, cursor: "_Cursor") -> GgufHeader:
    version = cursor.scalar("I")
    if version not in _VERSIONS:
        raise CheckpointError(f"{file}: GGUF version {version} is not supported; {_VERSIONS} are, little-endian.")
    tensor_count, metadata_count = cursor.scalar("Q"), cursor.scalar("Q")
    metadata = {}
    for _ in range(metadata_count):
        key, kind = cursor.string(), cursor.scalar("I")
        metadata[key] = cursor.value(kind)
    infos = [
        (cursor.string(), cursor.array(cursor.scalar("I"), "Q").tolist(), cursor.scalar("I"), cursor.scalar("Q"))
        for _ in range(tensor_count)
    ]
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise CheckpointError(f"{file}: general.alignment={alignment!r} is not a positive integer.")
    data_start = -(-cursor.offset // alignment) * alignment
    tensors: dict[str, ByteRange] = {}
    for name, dimensions, kind, offset in infos:
        if name in tensors:
            raise CheckpointError(f"{file}: tensor {name} is there twice.")
        shape = tuple(reversed(dimensions))
        tensors[name] = ByteRange.of(name, file, shape, data_start + offset, _encoding(file, name, kind))
    _check_whole(file, list(tensors.values()), data_start, alignment)
    return GgufHeader(metadata, tensors)


def _check_whole(file: Path, tensors: list[ByteRange], start: int, alignment: int) -> None:
    """Looks that the tensors fill the file but for their alignment, as llama.cpp does.

    Raises:
      CheckpointError: they do not: a tensor is described wrongly, or something was put in.
    """
    check_apart(tensors)
    end = start
    for tensor in sorted(tensors, key=lambda each: (each.offset, each.end)):
        if tensor.offset != start:
            raise CheckpointError(
                f"{file}: nothing describes bytes {start} to {tensor.offset - 1}, before tensor {tensor.name}. Fetch "
                "the file again."
            )
        end, start = tensor.end, -(-tensor.end // alignment) * alignment
    if tensors and (size := file.stat().st_size) > start:
        raise CheckpointError(f"{file}: nothing describes its last {size - end} bytes. Fetch the file again.")


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

    def __init__(self, file: Path, data: mmap.mmap, offset: int) -> None:
        self._file = file
        self._data = data
        self.offset = offset

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._data, self.offset)
        self.offset += struct.calcsize(f"<{code}")
        return value

    def string(self) -> str:
        (text,) = struct.unpack_from(f"<{self.scalar('Q')}s", self._data, self.offset)
        self.offset += len(text)
        return str(text, "utf-8")

    def array(self, count: int, code: str) -> npt.NDArray[Any]:
        nbytes = count * struct.calcsize(f"<{code}")
        data = self._data[self.offset : self.offset + nbytes]
        if len(data) < nbytes:
            raise struct.error(f"{count} values are said to follow")
        self.offset += nbytes
        return np.frombuffer(data, np.dtype(code).newbyteorder("<"))

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        if depth > _MAX_DEPTH:
            raise ValueError(f"arrays are nested more than {_MAX_DEPTH} deep")
        item_kind, count = self.scalar("I"), self.scalar("Q")
        if item_kind == _STRING:
            return self._strings(count)
        if item_kind == _ARRAY:
            return [self.value(_ARRAY, depth + 1) for _ in range(count)]
        return self.array(count, _SCALARS[item_kind])

    def _strings(self, count: int) -> StringArray:
        if count > _MAX_STRINGS:
            raise ValueError(f"{count} strings are said to follow; {_MAX_STRINGS} are the most in use")
        unpack, data, offset = struct.Struct("<Q").unpack_from, self._data, self.offset
        for _ in range(count):
            offset += 8 + unpack(data, offset)[0]
        found = StringArray(self._file, self.offset, count)
        self.offset = offset
        return found
