"""Files that only this user can have written or changed: for content that is executed when it is read."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

_ROOT = 0


class UntrustedFileError(Exception):
    """Another user could have written a file; names it, what is wrong with it and the remedy."""


def private_directory(path: Path) -> None:
    """Makes a directory that is this user's alone, whatever the umask; one of this user's that is there becomes so.

    Raises:
      UntrustedFileError: it is another user's, or stays open to others.
      OSError: it cannot be made.
    """
    path.mkdir(stat.S_IRWXU, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            with suppress(PermissionError):  # of volumes on which all files have one mode
                os.fchmod(descriptor, stat.S_IRWXU)
        _check(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """The content of a file that only this user or root can have written or replaced.

    Raises:
      UntrustedFileError: another user could, or it is no regular file.
      FileNotFoundError: it is not there.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(path.parent, os.fstat(directory))
        # Not blocking, as a pipe would.
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedFileError(f"{path} is a link. Remove it.") from None
        raise
    finally:
        os.close(directory)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedFileError(f"{path} is no regular file. Remove it.")
        _check(path, status)
        return file.read()


def write_private(path: Path, *parts: bytes, replace: bool = True) -> None:
    """Writes a file that no other user may read, all of it or nothing.

    Args:
      path: in a directory that is there.
      parts: what it is to hold, one after the other.
      replace: whether one that is there makes way, or stays as it is.
    """
    with NamedTemporaryFile(dir=path.parent, delete_on_close=False) as file:  # of mode 0600, whatever the umask
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
        if replace:
            os.replace(file.name, path)
        else:
            with suppress(FileExistsError):
                os.link(file.name, path)


def _check(path: Path, status: os.stat_result) -> None:
    user = os.geteuid()
    remedy = f"Give it to user {user} and take the others' right to write, or remove it."
    if status.st_uid not in (user, _ROOT):
        raise UntrustedFileError(f"{path} belongs to user {status.st_uid}, and this process runs as {user}. {remedy}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise UntrustedFileError(f"{path} has the mode {mode:04o}, by which others may write it. {remedy}")
