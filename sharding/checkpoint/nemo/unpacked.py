"""A tar.gz as a tar in the user's cache: what is compressed as one stream cannot be mapped, nor read in parts."""

import fcntl
import gzip
import hashlib
import logging
import shutil
import time
import zlib
from pathlib import Path
from typing import BinaryIO

from sharding.cache_dir import cache_dir
from sharding.checkpoint.errors import CheckpointError

_GZIP = b"\x1f\x8b\x08"
_BLOCK = 2**22
_HEAD = 2**16
"""Bytes in which a tar.gz has the first header of its tar, whatever names and comments of gzip's come before."""
_MOST_TIMES = 16
_MOST_MORE = 2**26
"""A tar of more than 16 times its compressed bytes and 64 MiB is no tar of weights."""
_DISK_LEFT = 2**30
_NAME = 40
"""Characters of its name, of up to four bytes each; file systems allow 255 bytes."""
_PROGRESS_S = 5.0

_log = logging.getLogger(__name__)


def first_bytes(file: Path, count: int) -> bytes:
    """The first bytes of a file, unpacked if it is one of gzip."""
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    if not head.startswith(_GZIP):
        return head[:count]
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, count)  # with gzip's header
    except zlib.error:
        return b""


def unpacked(file: Path) -> Path:
    """The tar of a tar.gz: made once for a file of this path, size and time, and found again afterwards.

    Other processes that ask for it meanwhile wait. gzip's own checksum tells whether it is whole.

    Raises:
      CheckpointError: the file is damaged or unfolds to more than weights do, or the cache cannot hold it.
    """
    try:
        return _unpacked(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be unpacked: {str(error).rstrip('.')}. Set XDG_CACHE_HOME.") from error


def _unpacked(file: Path) -> Path:
    status = file.stat()
    identity = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    folder = cache_dir("unpacked")
    # With the name of the archive, for errors that name this file.
    target = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}-{file.stem[:_NAME]}.tar"
    with (folder / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        _log.warning("%s: unpacking it once, into %s", file, target)
        # Of one name, under the lock: what a killed process has left of it is written over, not left for good.
        partial = folder / f"{target.name}.partial"
        partial.unlink(missing_ok=True)
        try:
            with partial.open("xb") as out, file.open("rb") as packed:
                _unpack(file, packed, out, status.st_size, shutil.disk_usage(folder).free - _DISK_LEFT)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return target


def _unpack(file: Path, packed: BinaryIO, out: BinaryIO, size: int, disk: int) -> None:
    most = _MOST_TIMES * size + _MOST_MORE
    written = 0
    last_told = time.monotonic()
    try:
        with gzip.GzipFile(fileobj=packed) as unpacker:  # of any number of members
            while data := unpacker.read(_BLOCK):
                written += len(data)
                if written > most:
                    raise CheckpointError(
                        f"{file}: unfolds to more than {most} bytes, as no weights do; it is not read."
                    )
                if written > disk:
                    raise CheckpointError(
                        f"{file}: the disk of the cache has too little room to unpack it. Set XDG_CACHE_HOME."
                    )
                out.write(data)
                if time.monotonic() - last_told > _PROGRESS_S:
                    last_told = time.monotonic()
                    _log.warning("%s: unpacking, %d of %d MiB", file, packed.tell() >> 20, size >> 20)
    except EOFError as error:
        raise CheckpointError(f"{file}: truncated: its gzip ends too early. Fetch it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CheckpointError(f"{file}: damaged gzip: {error}. Fetch it again.") from error
