"""Damage to tars, and compressed data that unfold without end."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
import tensorstore

from tests.damage.kinds import raw
from tests.damage.kinds.damage import Damage, Draw, Kind, pick

_BOMB_BYTES = 2**27
_LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE)
_OUTSIDE = ("/etc/passwd", "../model_config.yaml", "a/../../b", "./../x", "//x", "a/..")


def _is_tar(file: Path) -> bool:
    return file.suffix == ".nemo"


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"\x1f\x8b"


def _members(file: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(file) as archive:
        return [(member, opened.read() if (opened := archive.extractfile(member)) else b"") for member in archive]


def _write(file: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    mode = "w:gz" if _is_gzip(file) else "w:"
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]  # a literal
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))


def _edited(file: Path, draw: Draw) -> Damage:
    """The bytes of a member, in an archive that is sound."""
    members = _members(file)
    number = pick(draw, [number for number, (member, _) in enumerate(members) if member.isreg()])
    member, content = members[number]
    edit = pick(draw, [raw.cut, raw.insert, raw.leave_out, raw.append, raw.digits, raw.nest, raw.other])
    edited = edit(content, draw)
    members[number] = (member, edited)
    _write(file, members)
    return Damage(
        text=f"{edit.__name__} in member {member.name} of {file.name}", changed=raw.changed_bytes(content, edited)
    )


def _missing(file: Path, draw: Draw) -> Damage:
    members = _members(file)
    member, _ = members.pop(int(draw.integers(len(members))))
    _write(file, members)
    return Damage(text=f"member {member.name} is missing in {file.name}")


def _renamed(file: Path, draw: Draw) -> Damage:
    members = _members(file)
    member, _ = pick(draw, members)
    said = pick(draw, [member.name + "x", member.name[:-1], "a" * 300, "ü/\n", members[-1][0].name, "./" + member.name])
    member.name, old = said, member.name
    _write(file, members)
    return Damage(text=f"member {old} is named {said[:20]!r} in {file.name}")


def _outside(file: Path, draw: Draw) -> Damage:
    """A member that leads out of the archive, or that is a link or a device, before or behind the others."""
    members = _members(file)
    member = tarfile.TarInfo(pick(draw, [*_OUTSIDE, *(each.name for each, _ in members)]))
    if member.name not in _OUTSIDE:
        member.type, member.linkname = pick(draw, _LINKS), "/etc/passwd"
    members.insert(pick(draw, [0, len(members)]), (member, b"x"))
    _write(file, members)
    return Damage(text=f"member {member.name} of type {member.type!r} in {file.name}", refused=True)


def _bomb(file: Path, draw: Draw) -> Damage:
    """A gzip that begins like the tar and unfolds to far more."""
    head = io.BytesIO()
    with tarfile.open(fileobj=head, mode="w:") as archive:
        archive.addfile(tarfile.TarInfo("model_config.yaml"), io.BytesIO())
    unfolded = head.getvalue()[:512] + bytes(_BOMB_BYTES)
    file.write_bytes(gzip.compress(gzip.compress(unfolded) if draw.integers(4) == 0 else unfolded, 1))
    return Damage(text=f"{file.name} is a bomb", refused=True)


def _description(chunk: Path) -> Path | None:
    """Of the zarr array that a file is a chunk of."""
    return next((each / ".zarray" for each in list(chunk.parents)[:3] if (each / ".zarray").is_file()), None)


def _is_compressed_chunk(file: Path) -> bool:
    if not file.name.replace(".", "").isdigit() or (description := _description(file)) is None:
        return False
    if "optimizer" in description.parent.name:
        return False  # nobody reads it
    return b'"compressor":null' not in description.read_bytes().replace(b" ", b"")


def _chunk_bomb(file: Path, draw: Draw) -> Damage:
    """A chunk that unfolds to far more, by the compressor that the array names."""
    description = _description(file)
    assert description is not None
    text = description.read_text()
    if '"zlib"' in text or '"gzip"' in text:
        file.write_bytes((zlib if '"zlib"' in text else gzip).compress(bytes(_BOMB_BYTES), 1))
    else:
        compressor = {"id": "zstd", "level": 1} if '"zstd"' in text else {"id": "blosc", "cname": "lz4", "clevel": 5}
        store = {"driver": "memory"}
        context = tensorstore.Context()
        metadata = {"shape": [2**24], "chunks": [2**24], "dtype": "<f4", "compressor": compressor}
        spec = {"driver": "zarr", "kvstore": store, "metadata": metadata, "create": True}
        tensorstore.open(spec, context=context).result().write(np.ones(2**24, np.float32)).result()
        file.write_bytes(tensorstore.KvStore.open(store, context=context).result()["0"])
    return Damage(text=f"chunk {file.name} of {description.parent.name} is a bomb", refused=True, names="tensor")


ARCHIVES = {
    "bytes of a member of a tar": Kind(_is_tar, _edited),
    "member of a tar missing": Kind(_is_tar, _missing),
    "member of a tar renamed": Kind(_is_tar, _renamed),
    "member outside": Kind(_is_tar, _outside),
    "another member outside": Kind(_is_tar, _outside),
    "bomb": Kind(_is_gzip, _bomb),
    "chunk bomb": Kind(_is_compressed_chunk, _chunk_bomb),
}
