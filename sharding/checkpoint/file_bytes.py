"""Bytes of a file: read where all of them are wanted, mapped where some are.

A mapping ends the process when the file became shorter or its disk fails; a read ends in an error. So a mapping is only
for what lies apart, and is made anew for every part, or pages of the file would add up in this process's memory.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError


def read_bytes(file: Path, start: int, size: int) -> npt.NDArray[np.uint8]:
    """Reads so many bytes from one on.

    Raises:
      CheckpointError: the file has fewer, or cannot be read.
    """
    found = np.empty(size, np.uint8)
    rest = memoryview(found)
    try:
        with file.open("rb", buffering=0) as opened:
            opened.seek(start)
            while rest and (count := opened.readinto(rest)):
                rest = rest[count:]
    except OSError as error:
        raise _unreadable(file, error) from error
    if rest:
        raise _too_short(file)
    return found


def map_bytes(file: Path, start: int, size: int) -> npt.NDArray[np.uint8]:
    """Maps so many bytes from one on, of which the caller touches some.

    Raises:
      CheckpointError: the file has fewer, or cannot be read.
    """
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size < start + size:
                raise _too_short(file)
            return np.memmap(opened, np.uint8, "r", start, shape=(size,))
    except OSError as error:
        raise _unreadable(file, error) from error


def _too_short(file: Path) -> CheckpointError:
    return CheckpointError(f"{file}: became shorter while it was read. Load it once it is whole.")


def _unreadable(file: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{file} cannot be read: {error.strerror}.")
