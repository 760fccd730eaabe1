"""Members: the files of a NeMo checkpoint, in a directory or in a tar, as ranges of bytes.

Nothing is unpacked from a tar: its members lie in it as they are, and weights are mapped from the archive itself.
Those of a tar.gz do not: `unpacked` makes a tar of it first.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.file_part import FilePart
from sharding.checkpoint.nemo.unpacked import first_bytes, unpacked

_MAX_MEMBERS = 100_000
_MAX_HEADER = 2**16
"""Of a member: its long name, in the extensions of the format."""
_MAGIC_OFFSET, _MAGIC = 257, b"ustar"


@dataclass(frozen=True, slots=True)
class Extent:
    """Consecutive bytes of a file."""

    file: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Members:
    """The files of a checkpoint.

    Attributes:
      path: of the checkpoint, for error messages.
      extents: where each file is, by its path in the checkpoint, with slashes.
    """

    path: Path
    extents: dict[str, Extent]

    def below(self, folder: str) -> "Members":
        """The files of a folder, by their paths in it."""
        prefix = folder + "/"
        found = {name.removeprefix(prefix): extent for name, extent in self.extents.items() if name.startswith(prefix)}
        return Members(self.path / folder, found)

    def read(self, name: str, at_most: int) -> bytes:
        """The content of a small file.

        Raises:
          CheckpointError: it is missing, cannot be read, or has more bytes.
        """
        extent = self.extents.get(name)
        if extent is None:
            raise CheckpointError(f"{self.path}: {name} is missing.")
        if extent.size > at_most:
            raise CheckpointError(f"{self.path}: {name} has {extent.size} bytes; {at_most} are the most that is read.")
        try:
            with extent.file.open("rb") as opened:
                opened.seek(extent.offset)
                return opened.read(extent.size)
        except OSError as error:
            raise CheckpointError(f"{extent.file} cannot be read: {error.strerror}.") from error


def is_tar(file: Path) -> bool:
    """Whether a file is a tar, as it is or in gzip, by its first bytes."""
    end = _MAGIC_OFFSET + len(_MAGIC)
    return file.is_file() and first_bytes(file, end)[_MAGIC_OFFSET:end] == _MAGIC


def _is_tar(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(_MAGIC_OFFSET)
        return opened.read(len(_MAGIC)) == _MAGIC


def open_members(path: Path) -> Members:
    """The files of a directory, of a tar or of a tar.gz.

    Raises:
      CheckpointError: the archive is damaged, or has what no checkpoint has: links, devices, paths that lead out of it.
    """
    found = _in_directory(path) if path.is_dir() else _in_tar(path, path if _is_tar(path) else unpacked(path))
    extents: dict[str, Extent] = {}
    for name, extent in found:
        if name in extents:
            raise CheckpointError(f"{path}: has two files {name}.")
        if len(extents) == _MAX_MEMBERS:
            raise CheckpointError(f"{path}: has more than {_MAX_MEMBERS} files.")
        extents[name] = extent
    return Members(path, extents)


def _in_directory(path: Path) -> Iterator[tuple[str, Extent]]:
    for folder, _, files in os.walk(path):
        for name in files:
            file = Path(folder, name)
            if file.is_file():
                yield file.relative_to(path).as_posix(), Extent(file, 0, file.stat().st_size)


def _in_tar(path: Path, file: Path) -> Iterator[tuple[str, Extent]]:
    size = file.stat().st_size
    try:
        with file.open("rb") as opened, tarfile.TarFile(fileobj=FilePart(opened, 0, size, _MAX_HEADER)) as archive:  # type: ignore[arg-type]  # reads and seeks
            for count, member in enumerate(archive):
                name = member.name.removeprefix("./")
                if count > 2 * _MAX_MEMBERS:
                    raise CheckpointError(f"{path}: has more than {_MAX_MEMBERS} members.")
                if member.isdir():
                    continue
                shown = ascii(name)[:100]
                if not member.isreg() or member.issparse():
                    raise CheckpointError(f"{path}: its member {shown} is a link, a device or sparse, and is not read.")
                if name.startswith("/") or ".." in name.split("/"):
                    raise CheckpointError(f"{path}: its member {shown} leads out of the archive, and is not read.")
                if member.size < 0 or member.offset_data + member.size > size:
                    raise CheckpointError(f"{path}: truncated: its member {shown} ends beyond it. Fetch it again.")
                yield name, Extent(file, member.offset_data, member.size)
    except (tarfile.TarError, ValueError, OSError, EOFError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path}: no sound tar: {error}. Fetch it again.") from error
