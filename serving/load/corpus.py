"""Real code to type and to ask about: the sources of Python's own library, which every machine has."""

import random
import sysconfig
from functools import cache
from pathlib import Path

MIN_LINES = 80
"""Of every file: room for a cursor with code around it."""


@cache
def source_files() -> tuple[Path, ...]:
    """Modules that are long enough, in one order on every machine."""
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return tuple(path for path in modules if path.read_bytes().count(b"\n") >= MIN_LINES)


def some_source(rng: random.Random) -> tuple[str, list[str]]:
    """The name and the lines of a file."""
    path = rng.choice(source_files())
    return path.name, path.read_text(errors="replace").splitlines(keepends=True)
