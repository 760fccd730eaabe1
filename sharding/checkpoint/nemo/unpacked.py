"""A tar.gz as a tar in the user's cache: what is compressed as one stream cannot be mapped, nor read in parts."""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path
from typing import BinaryIO

from sharding.cache_dir import cache_dir
from sharding.checkpoint.errors import CheckpointError

_GZIP = b"\x1f\x8b\x08"
_BLOCK = 2**22
_MOST_TIMES = 16
_MOST_MORE = 2**26
"""A tar of more than 16 times its compressed bytes and 64 MiB is no tar of weights."""
_DISK_LEFT = 2**30
_PROGRESS_S = 5.0

_log = logging.getLogger(__name__)


def is_gzip(file: Path) -> bool:
    """Whether a file is one of gzip, by its first bytes."""
    with file.open("rb") as opened:
        return opened.read(len(_GZIP)) == _GZIP


def unpacked(file: Path) -> Path:
    """The tar of a tar.gz: made once for a file of this path, size and time, and found again afterwards.

    Other processes that ask for it meanwhile wait. gzip's own checksum tells whether it is whole.

    Raises:
      CheckpointError: the file is damaged or unfolds to more than weights do, or the disk is too small.
    """
    status = file.stat()
    identity = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    folder = cache_dir("unpacked")
    target = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.tar"
    with (folder / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        _log.warning("%s: unpacking it once, into %s", file, target)
        descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
        try:
            with os.fdopen(descriptor, "wb") as out, file.open("rb") as packed:
                _unpack(file, packed, out, status.st_size, shutil.disk_usage(folder).free - _DISK_LEFT)
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    return target


def _unpack(file: Path, packed: BinaryIO, out: BinaryIO, size: int, disk: int) -> None:
    most = _MOST_TIMES * size + _MOST_MORE
    read = written = 0
    last_told = time.monotonic()
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)  # gzip's header and checksum
    try:
        while not unpacker.eof:
            waiting = unpacker.unconsumed_tail
            if not waiting:
                waiting = packed.read(_BLOCK)
                read += len(waiting)
                if not waiting:
                    raise CheckpointError(f"{file}: truncated: its gzip ends too early. Fetch it again.")
            data = unpacker.decompress(waiting, _BLOCK)
            written += len(data)
            if written > most:
                raise CheckpointError(f"{file}: unfolds to more than {most} bytes, as no weights do; it is not read.")
            if written > disk:
                raise CheckpointError(
                    f"{file}: the disk of the cache has too little room to unpack it. Set XDG_CACHE_HOME."
                )
            out.write(data)
            if time.monotonic() - last_told > _PROGRESS_S:
                last_told = time.monotonic()
                _log.warning("%s: unpacking, %d of %d MiB", file, read >> 20, size >> 20)
    except zlib.error as error:
        raise CheckpointError(f"{file}: damaged gzip: {error}. Fetch it again.") from error
