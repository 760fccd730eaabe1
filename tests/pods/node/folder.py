"""Where a run keeps its files, and what it removes at its end or at the start of the next one."""

import errno
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pods.node.command import MissingError, run

FOLDER = Path("/var/lib/codegemma-pods")
"""Root's alone: secrets of the run are there."""
_LOCK = "codegemma-pods"
"""An abstract socket (unix(7)): it goes with the process that holds it, and is no file that would stay."""
_LOGS = (".log", ".out", ".err")
RUNC = FOLDER / "runc"


@contextmanager
def locked() -> Iterator[None]:
    """Holds the folder: bridge and names are for one run at a time.

    Raises:
      MissingError: another run has it.
    """
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{_LOCK}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise MissingError(f"Another `make pods` runs: it holds the socket @{_LOCK} (`ss -xlp`).") from None
        yield


def unmount_all() -> None:
    """Unmounts what is mounted below the folder."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in reversed([mount for mount in mounts if mount.startswith(f"{FOLDER}/")]):
        run("umount", path)


def keep_logs(target: Path) -> bool:
    """Copies what containers and Ray have logged, in the place of what was kept before; whether there is any."""
    shutil.rmtree(target, ignore_errors=True)
    for file in (FOLDER / "pods").rglob("*"):
        if file.suffix in _LOGS and file.is_file() and not file.is_symlink():
            copy = target / file.relative_to(FOLDER / "pods")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target.exists()


def remove() -> None:
    """Removes the folder; nothing may be mounted there."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
