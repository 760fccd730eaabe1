"""Where files that can be made again are kept between runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sharding.private_files import UntrustedFileError, private_directory


class CacheError(OSError):
    """What can be made again cannot be kept; the message names the place, the cause and the remedy."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"The cache {directory} cannot be written: {error.strerror}. Set XDG_CACHE_HOME to a directory with room "
            "that this user may write; in a container, mount one there."
        )


def cache_path(name: str) -> Path:
    """Where the directory `name` of this user's cache is, or is to be made; `XDG_CACHE_HOME` moves it.

    Raises:
      ValueError: it is not set, and the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "codegemma" / name
    except RuntimeError:
        raise ValueError(
            f"User {os.getuid()} has no home directory for a cache. Set XDG_CACHE_HOME to a directory with room that "
            "this user may write."
        ) from None


def cache_dir(name: str) -> Path:
    """The same directory, made for this user alone if need be.

    Raises:
      ValueError: it is another user's, or stays open to others; or there is no place for it.
      CacheError: it cannot be made.
    """
    directory = cache_path(name)
    try:
        with writing_cache(directory):
            for each in (directory.parent, directory):
                private_directory(each)
    except UntrustedFileError as error:
        raise ValueError(str(error)) from error
    return directory


@contextmanager
def writing_cache(directory: Path) -> Iterator[None]:
    """Raises CacheError for what cannot be written there meanwhile."""
    try:
        yield
    except OSError as error:
        raise CacheError(directory, error) from error
