"""Where files that can be made again are kept between runs."""

import os
from pathlib import Path

from sharding.private_files import UntrustedFileError, private_directory


def cache_path(name: str) -> Path:
    """Where the directory `name` of this user's cache is, or is to be made; `XDG_CACHE_HOME` moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codegemma" / name


def cache_dir(name: str) -> Path:
    """The same directory, made for this user alone if need be.

    Raises:
      ValueError: it is another user's, or stays open to others.
      OSError: it cannot be made.
    """
    directory = cache_path(name)
    try:
        for each in (directory.parent, directory):
            private_directory(each)
    except UntrustedFileError as error:
        raise ValueError(str(error)) from error
    return directory
