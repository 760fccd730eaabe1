"""partial_directory and partial_file: what is written appears at its target complete or not at all."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".partial"
_LOCK = "lock"
_FILES = "files"
_FILE = "file"


@contextmanager
def partial_directory(target: Path, *, kept_after: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A directory to fill, which becomes `target` when the block ends, and is removed if the block raises an error.

    Its name is always the same, `.NAME.partial` beside the target: what a killed or interrupted process left in it, the
    next one finds. Only one process at a time has it.

    Args:
      target: a directory that is not there yet, or empty, in one that is there.
      kept_after: errors after which it stays as an interruption leaves it, unless it is empty.

    Raises:
      ValueError: another process has it.
      OSError: it cannot be written, or the target is not empty.
    """
    with _files_beside(target, kept_after) as files:
        yield files
        files.rename(target.absolute())  # `.` is no name to rename to


@contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """The same for one file: the path to write it at.

    Raises:
      ValueError: another process has it.
      OSError: it cannot be written.
    """
    with _files_beside(target) as files:
        yield files / _FILE
        (files / _FILE).rename(target)


def check_free(target: Path) -> None:
    """Looks that a target can be written, before hours of work.

    Raises:
      ValueError: something is there.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there already and not empty. Remove it, or name another target.")


def in_partial_directory(path: Path) -> bool:
    """Whether a path is in a directory that is being filled, or was when its process was killed."""
    return any(part.startswith(".") and part.endswith(_SUFFIX) for part in path.parts)


@contextmanager
def _files_beside(target: Path, kept_after: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    target = target.absolute()  # `.` has no name
    partial = target.with_name(f".{target.name}{_SUFFIX}")
    lock = _lock(partial, target)
    files = partial / _FILES
    try:
        with suppress(FileExistsError):
            files.mkdir()
        _check_own(files)
        yield files
    except kept_after:
        with suppress(OSError):
            files.rmdir()  # if nothing is in it
        raise
    except Exception:
        shutil.rmtree(files, ignore_errors=True)  # which follows no link
        raise
    else:
        shutil.rmtree(files, ignore_errors=True)  # what a `partial_file` was in
    finally:
        (partial / _LOCK).unlink(missing_ok=True)
        os.close(lock)  # before the directory goes: NFS keeps an open file in it
        with suppress(OSError):
            partial.rmdir()  # unless the next process is in it already


def _check_own(directory: Path) -> None:
    """Looks that a directory is one, and this user's: what others put beside the target is neither taken nor removed.

    Raises:
      ValueError: it is a link, or another user's.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(f"{directory} is not a directory of this user's. Remove it, or name another target.")


def _lock(partial: Path, target: Path) -> int:
    """The open lock file of `partial`; the lock ends with the process, however that ends.

    It is a file, because NFS cannot lock directories. It must not be a link: another user who may write beside the
    target could have us create a file elsewhere.
    """
    path = partial / _LOCK
    while True:
        with suppress(FileExistsError):  # not exist_ok, which raises if the directory goes at that moment
            partial.mkdir()
        with suppress(FileNotFoundError):
            _check_own(partial)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # the process before removed the directory meanwhile
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(lock)
            raise ValueError(
                f"Another process is writing {target}, in {partial}. Wait for it, or name another target."
            ) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # of a file that the process before removed when it was done
