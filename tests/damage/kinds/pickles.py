"""Damage to files of torch.save and to pickles: what would be executed, and what no writer writes."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.damage.kinds import raw
from tests.damage.kinds.damage import Damage, Draw, Kind, pick

_COMMAND = b"X\x0e\x00\x00\x00touch executed"


class _Popen:
    def __reduce__(self) -> tuple[object, ...]:
        import subprocess

        return subprocess.Popen, (["touch", "executed"],)


_EVIL: tuple[bytes, ...] = (
    b"\x80\x02cos\nsystem\n(" + _COMMAND + b"tR.",
    b"\x80\x02cposix\nsystem\n" + _COMMAND + b"\x85R.",
    b"\x80\x02(" + _COMMAND + b"ios\nsystem\n.",
    b"\x80\x02(cos\nsystem\n" + _COMMAND + b"o.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93" + _COMMAND + b"\x85R.",
    b"\x80\x02c__builtin__\nexec\nX\x18\x00\x00\x00open('executed','w')     \x85R.",
    b"\x80\x02cbuiltins\neval\nX\x14\x00\x00\x00open('executed','w')\x85R.",
    b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93(\x8c\x02os\x8c\x06systemtR.",
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(cos\nsystem\n" + _COMMAND + b"tR.",
    b"\x80\x02ctorch.serialization\nload\n" + _COMMAND + b"\x85R.",
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
    b"\x80\x02ccollections\nOrderedDict\n)R}(X\x0c\x00\x00\x00__setstate__cos\nsystem\nub.",
    b"\x80\x02(" + _COMMAND + b"cos\nsystem\ntQ.",
    b"\x80\x02Pexecuted\n.",
    b"\x80\x02\x82\x01.",
    pickle.dumps(_Popen()),
    pickle.dumps(_Popen(), 0),
)
_WRONG: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data[:-1],
    lambda data: data[:-1] + b"0N.",
    lambda data: data[:2] + b"(" * 100_000 + data[2:],
    lambda data: data[:2] + b"]q\x00" * 50_000 + data[2:],
    lambda data: data[:-1] + b"\x85" * 100_000 + b".",
    lambda data: data[:-1] + b"2" * 100_000 + b".",
    lambda data: data[:-1] + b"r\xff\xff\xff\xff.",
    lambda data: b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f" + data[2:],
    lambda data: data.replace(b"F", b"G"),
    lambda data: data.replace(b"Float", b"Half", 1),
    lambda data: data.replace(b"torch", b"posix"),
    lambda data: data.replace(b"cpu", b"gpu"),
    lambda data: data.replace(b"\x8a\x01", b"\x8a\x08" + bytes(7), 1),
    lambda data: data.replace(b"weight", b"wefght", 1),
    lambda data: data.replace(b"\x8a\x01\x20", b"\x8a\x01\x40", 1),
    lambda data: data.replace(b"\x8a\x02\x40\x00", b"\x8a\x01\xff", 1),
    lambda data: data.replace(b"\x89", b"\x88"),
    lambda data: data * 2,
    lambda data: bytes(len(data)),
    lambda data: b"\x80\x02}.",
    lambda data: b"\x80\x02N.",
)


def _is_pickle(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(1) == b"\x80"


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(member.filename, archive.read(member)) for member in archive.infolist()]


def _zip(members: list[tuple[str, bytes]], compressed: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if name == compressed else zipfile.ZIP_STORED)
    return buffer.getvalue()


def _kind(edit: Callable[[bytes, Draw], tuple[bytes, str]], refused: bool = False) -> Kind:
    """Of a pickle, or of the one in a file of torch.save, which is whole otherwise."""

    def damage(file: Path, draw: Draw) -> Damage:
        data = file.read_bytes()
        if _is_pickle(file):
            edited, said = edit(data, draw)
            file.write_bytes(edited)
            return Damage(text=f"{said} in {file.name}", refused=refused)
        members = _members(data)
        place = next(number for number, (name, _) in enumerate(members) if name.endswith("data.pkl"))
        edited, said = edit(members[place][1], draw)
        file.write_bytes(_zip([*members[:place], (members[place][0], edited), *members[place + 1 :]]))
        return Damage(text=f"{said} in data.pkl of {file.name}", refused=refused)

    return Kind(lambda file: _is_pickle(file) or zipfile.is_zipfile(file), damage)


def _evil(data: bytes, draw: Draw) -> tuple[bytes, str]:
    number = int(draw.integers(len(_EVIL)))
    evil = _EVIL[number]
    # Alone, or before what was there, whose result is the one that counts.
    return (
        (evil, f"evil pickle {number}") if draw.integers(2) else (evil[:-1] + b"0" + data[2:], f"evil {number} first")
    )


def _wrong(data: bytes, draw: Draw) -> tuple[bytes, str]:
    number = int(draw.integers(len(_WRONG)))
    return _WRONG[number](data), f"wrong pickle {number}"


def _bytes(data: bytes, draw: Draw) -> tuple[bytes, str]:
    edit = pick(draw, [raw.cut, raw.flip, raw.number, raw.insert, raw.leave_out, raw.zeros])
    return edit(data, draw), edit.__name__


def _member(file: Path, draw: Draw) -> Damage:
    members = _members(file.read_bytes())
    number = int(draw.integers(len(members)))
    name, content = members[number]
    compressed = ""
    match said := pick(draw, ["missing", "renamed", "twice", "compressed", "longer", "shorter", "empty", "a path"]):
        case "missing":
            del members[number]
        case "renamed":
            members[number] = (f"{name}x", content)
        case "twice":
            members.append((pick(draw, [name, f"other/{name}", f"{name}/data.pkl"]), content))
        case "compressed":
            compressed = name
        case "longer":
            members[number] = (name, content + bytes(64))
        case "shorter":
            members[number] = (name, content[:-4])
        case "empty":
            members[number] = (name, b"")
        case _:
            members[number] = (pick(draw, ["/etc/passwd", f"../{name}", "a" * 5000, ""]), content)
    file.write_bytes(_zip(members, compressed))
    return Damage(text=f"member {name} is {said} in {file.name}")


def _directory(file: Path, draw: Draw) -> Damage:
    """A field of the entry of a member in the zip's directory is another number."""
    data = file.read_bytes()
    entries = [place for place in range(len(data)) if data.startswith(b"PK\x01\x02", place)]
    at = pick(draw, entries) + pick(draw, [8, 10, 16, 20, 24, 28, 30, 32, 42])
    value = pick(draw, [0, 1, 12, 2**16 - 1, 2**31, 2**32 - 1])
    file.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])
    return Damage(text=f"directory has {value} at {at} in {file.name}")


PICKLES = {
    "evil pickle": _kind(_evil, refused=True),
    "wrong pickle": _kind(_wrong),
    "bytes of a pickle": _kind(_bytes),
    "member of a zip": Kind(zipfile.is_zipfile, _member),
    "directory of a zip": Kind(zipfile.is_zipfile, _directory),
}
