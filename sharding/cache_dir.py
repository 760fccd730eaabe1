"""Where files that can be made again are kept between runs."""

import os
from pathlib import Path


def cache_dir(name: str) -> Path:
    """The directory `name` in this user's cache, made for this user alone if need be; `XDG_CACHE_HOME` moves it."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codegemma" / name
    directory.mkdir(0o700, parents=True, exist_ok=True)
    return directory
