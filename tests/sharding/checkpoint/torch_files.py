"""Writes files as torch.save does, by the rules of its format and without torch."""

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

STORAGES: dict[np.dtype[Any], str] = {
    np.dtype(np.float32): "torch FloatStorage",
    np.dtype(np.float16): "torch HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "torch BFloat16Storage",
    np.dtype(np.int8): "torch CharStorage",
    np.dtype(np.complex64): "torch ComplexFloatStorage",
}


@dataclass(frozen=True)
class Global:
    """A name that the reader of a pickle imports."""

    name: str


@dataclass(frozen=True)
class Call:
    """What a global makes of arguments, with attributes set afterwards."""

    function: Global
    arguments: tuple[object, ...] = ()
    attributes: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Persistent:
    """An object that is stored elsewhere."""

    identity: tuple[object, ...]


@dataclass(frozen=True)
class Opcodes:
    """What no writer writes."""

    data: bytes


@dataclass(frozen=True)
class Strided:
    """A tensor that is a view of a storage."""

    storage: npt.NDArray[Any]
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> "Strided":
        """All of an array, in its order."""
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)
        return cls(array.reshape(-1), 0, array.shape, strides)


def dumps(value: object) -> bytes:
    """The pickle, of protocol 2, of dicts, tuples, lists, plain values and the classes above."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(key) + _opcodes(entry) for key, entry in value.items()) + b"u"
        case Global(name):
            return b"c" + name.replace(" ", "\n").encode() + b"\n"
        case Call(function, arguments, attributes):
            state = b"" if attributes is None else _opcodes(dict(attributes)) + b"b"
            return _opcodes(function) + _opcodes(arguments) + b"R" + state
        case Opcodes(data):
            return data
        case Persistent(identity):
            return _opcodes(identity) + b"Q"
        case _:
            raise TypeError(f"{value!r} has no opcodes here")


@dataclass
class TorchFile:
    """A file in the making.

    Attributes:
      root: the folder in the zip.
      compression: of its members; torch.save has none.
      members: further members by name.
    """

    root: str = "archive"
    compression: int = zipfile.ZIP_STORED
    members: dict[str, bytes] = field(default_factory=lambda: {"byteorder": b"little", "version": b"3\n"})

    def data(self, value: object) -> bytes:
        """The file's bytes; arrays in `value` become tensors."""
        storages: dict[int, tuple[str, npt.NDArray[Any]]] = {}

        def with_tensors(value: object) -> object:
            match value:
                case np.ndarray():
                    return with_tensors(Strided.of(value))
                case Strided(storage, start, shape, strides):
                    key, _ = storages.setdefault(id(storage), (str(len(storages)), storage))
                    kind = Global(STORAGES[storage.dtype])
                    where = Persistent(("storage", kind, key, "cpu", storage.size))
                    hooks = Call(Global("collections OrderedDict"))
                    arguments = (where, start, shape, strides, False, hooks)
                    return Call(Global("torch._utils _rebuild_tensor_v2"), arguments)
                case dict():
                    return {key: with_tensors(entry) for key, entry in value.items()}
                case _:
                    return value

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", self.compression) as archive:
            archive.writestr(f"{self.root}/data.pkl", dumps(with_tensors(value)))
            for key, array in storages.values():
                archive.writestr(f"{self.root}/data/{key}", array.tobytes())
            for name, data in self.members.items():
                archive.writestr(f"{self.root}/{name}", data)
        return buffer.getvalue()


def write_torch_file(file: Path, value: object) -> Path:
    """Writes what torch.save would."""
    file.write_bytes(TorchFile().data(value))
    return file
