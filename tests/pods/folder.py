"""Where a run keeps its files, and what it removes at its end or at the start of the next one."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pods.command import MissingError, run

FOLDER = Path("/var/lib/codegemma-pods")
"""Root's alone: secrets of the run are there."""
RUNC = FOLDER / "runc"


@contextmanager
def locked() -> Iterator[None]:
    """Holds the folder: bridge and names are for one run at a time.

    Raises:
      MissingError: another run has it.
    """
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with (FOLDER / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MissingError(f"Another `make pods` runs: it holds {file.name}.") from None
        yield


def unmount_all() -> None:
    """Unmounts what is mounted below the folder."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in reversed([mount for mount in mounts if mount.startswith(f"{FOLDER}/")]):
        run("umount", path)


def empty() -> None:
    """Removes all files but the lock."""
    for each in FOLDER.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
