"""Files of `torch.save`: a zip of a pickle that describes tensors, and of their numbers, each storage a stored member.

Format: torch/serialization.py and torch/_utils.py of PyTorch. The numbers are never read here: they are mapped later,
part by part. The pickle is read by `pickle_reader`, which calls nothing but what is listed here.
"""

import struct
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.file_part import FilePart
from sharding.checkpoint.matrix import matrix_shape
from sharding.checkpoint.pickle_reader import MAX_BYTES, Record, read_pickle
from sharding.checkpoint.strided import StridedMatrix, row_and_column_stride

_TYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "torch FloatStorage": ("F32", np.dtype(np.float32)),
    "torch HalfStorage": ("F16", np.dtype(np.float16)),
    "torch BFloat16Storage": ("BF16", np.dtype(ml_dtypes.bfloat16)),
    "torch DoubleStorage": ("F64", np.dtype(np.float64)),
    "torch CharStorage": ("I8", np.dtype(np.int8)),
    "torch ByteStorage": ("U8", np.dtype(np.uint8)),
    "torch ShortStorage": ("I16", np.dtype(np.int16)),
    "torch IntStorage": ("I32", np.dtype(np.int32)),
    "torch LongStorage": ("I64", np.dtype(np.int64)),
    "torch BoolStorage": ("BOOL", np.dtype(np.bool_)),
    "torch ComplexFloatStorage": ("C64", np.dtype(np.complex64)),
}
"""Name and dtype of the numbers in a storage, by the global that stands for it."""

_FIRST_MEMBER = "/data.pkl"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a member of a zip: signature, and the lengths of its name and of an extra field, which come before its bytes."""
_MAX_AXES = 8
_MAX_DEPTH = 4
"""Of dicts in dicts."""
_MAX_KEY = 256
"""Characters of a key: the names of all tensors below it repeat it."""
_BYTE = Encoding("U8", 1, 1, lambda raw: raw)


@dataclass(frozen=True, slots=True)
class _Storage:
    """Numbers of one type, one after the other, in a file."""

    type: str
    dtype: np.dtype[Any]
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor, which has no name yet."""

    storage: _Storage
    start: int
    axes: tuple[int, ...]
    strides: tuple[int, ...]


def is_torch_file(file: Path) -> bool:
    """Whether a file is one of `torch.save`, by its first bytes."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        header = opened.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            return False
        _, name_length, _ = _LOCAL_HEADER.unpack(header)
        return opened.read(name_length).endswith(_FIRST_MEMBER.encode())


def read_torch_file(file: Path, start: int = 0, size: int | None = None) -> dict[str, StridedMatrix]:
    """The tensors of a file, or of a part of a file that is one.

    Args:
      file: that holds it.
      start: the byte where it begins.
      size: its bytes; None: to the end of the file.

    Returns:
      The tensors by their names: keys of dicts, joined by dots. A tensor that is saved alone has the name "". What is
      no tensor is left out.

    Raises:
      CheckpointError: it is damaged, or has anything but tensors, dicts, lists and plain values.
    """
    try:
        with file.open("rb") as opened:
            end = file.stat().st_size if size is None else start + size
            return _named(file, _read(file, FilePart(opened, start, end, MAX_BYTES)))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, EOFError, NotImplementedError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{file}: no sound file of torch.save: {error}. Fetch it again.") from error


def _read(file: Path, part: FilePart) -> object:
    with zipfile.ZipFile(part) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise ValueError("two of its members have one name")
        pickles = [name for name in members if name.endswith(_FIRST_MEMBER) and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError(f"it has {len(pickles)} members {_FIRST_MEMBER[1:]}")
        root = pickles[0].removesuffix(_FIRST_MEMBER)
        if f"{root}/byteorder" in members and _member_bytes(part, members[f"{root}/byteorder"]) != b"little":
            raise ValueError("its numbers are not little-endian")
        storages: dict[str, ByteRange] = {}

        def storage(identity: object) -> _Storage:
            kind, (name, dtype), key, _, count = _as_tuple(identity)
            if kind != "storage" or not isinstance(key, str) or not isinstance(count, int):
                raise ValueError("a storage without a name and a size")
            if (member := members.get(f"{root}/data/{key}")) is None:
                raise ValueError(f"its storage {key[:40]!r} is missing")
            if count * dtype.itemsize != member.file_size:
                raise ValueError(f"storage {key[:40]} has {member.file_size} bytes, not those of {count} {name}")
            offset = part.start + _data_offset(part, member)
            storages[key] = ByteRange.of(f"data/{key}", file, (member.file_size,), offset, _BYTE)
            return _Storage(name, dtype, offset, count)

        found = read_pickle(_member_bytes(part, members[pickles[0]]), _KNOWN, storage)
        check_apart([each for each in storages.values() if each.end > each.offset])
        return found


def _data_offset(part: FilePart, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin; it must be stored as it is."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size != member.compress_size:
        raise ValueError(f"its member {member.filename[:100]} is compressed or encrypted, which torch.save never does")
    part.seek(member.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(part.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ValueError(f"its member {member.filename[:100]} is not where it should be")
    offset = part.tell() + int(name_length) + int(extra_length)
    part.seek(offset + member.file_size)  # which fails beyond the end
    return offset


def _member_bytes(part: FilePart, member: zipfile.ZipInfo) -> bytes:
    part.seek(_data_offset(part, member))
    return part.read(member.file_size)


def _as_tuple(value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise ValueError("a tuple is missing in its pickle")
    return value


def _rebuild_tensor(storage: object, start: object, axes: object, strides: object, *_: object) -> _Tensor:
    """PyTorch's `_rebuild_tensor_v2`: a view of a storage."""
    axes, strides = _as_tuple(axes), _as_tuple(strides)
    if not isinstance(storage, _Storage) or len(axes) != len(strides) or len(axes) > _MAX_AXES:
        raise ValueError("a tensor of no storage, or with other strides than axes")
    for number in (start, *axes, *strides):
        if not isinstance(number, int) or number < 0:
            raise ValueError("a tensor whose shape, strides or offset are no numbers from 0 on")
    assert isinstance(start, int)
    last = start + sum((size - 1) * stride for size, stride in zip(axes, strides, strict=True))
    if prod(axes) and last >= storage.count:
        raise ValueError(
            f"a tensor of shape {str(axes)[:100]} reaches beyond the {storage.count} numbers of its storage"
        )
    if prod(axes) > storage.count:  # a stride of 0: a few bytes would be a model of any size
        raise ValueError(
            f"a tensor of shape {str(axes)[:100]} has more numbers than the {storage.count} of its storage"
        )
    return _Tensor(storage, start, axes, strides)


def _rebuild_parameter(tensor: object, *_: object) -> object:
    return tensor


_KNOWN: dict[str, object] = {
    **_TYPES,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch Size": lambda axes: tuple(_as_tuple(axes)),
    "collections OrderedDict": lambda: {},
    "_io BytesIO": Record,  # Transformer Engine's extra states, which are ignored
    "_codecs encode": lambda text, encoding: b"",  # their bytes
}


def _named(file: Path, found: object) -> dict[str, StridedMatrix]:
    tensors: dict[str, StridedMatrix] = {}
    level: list[tuple[str, object]] = [("", found)]
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, object]] = []
        for name, value in level:
            if isinstance(value, _Tensor):
                tensors[name] = _matrix(file, name, value)
            elif isinstance(value, dict):
                below += ((f"{name}.{_key(key)}" if name else _key(key), entry) for key, entry in value.items())
                if len(below) > MAX_BYTES // 64:
                    raise ValueError("dicts in dicts without end")
        level = below
    return tensors


def _key(key: object) -> str:
    text = str(key)
    if len(text) > _MAX_KEY:
        raise ValueError(f"a key of {len(text)} characters; {_MAX_KEY} are the most that is read")
    return text


def _matrix(file: Path, name: str, tensor: _Tensor) -> StridedMatrix:
    strides = row_and_column_stride(tensor.axes, tensor.strides)
    if strides is None:
        raise ValueError(
            f"tensor {name} of shape {tensor.axes} has the strides {tensor.strides}: its rows are not even"
        )
    storage = tensor.storage
    return StridedMatrix(
        name=name,
        file=file,
        shape=matrix_shape(tensor.axes),
        type=storage.type,
        offset=storage.offset + tensor.start * storage.dtype.itemsize,
        dtype=storage.dtype,
        axes=tensor.axes,
        strides=strides,
    )
