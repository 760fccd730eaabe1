"""Real code to type and to ask about: the sources of Python's own library, which every machine has."""

import random
import sysconfig
from functools import cache
from pathlib import Path

_MIN_LINES = 80


@cache
def source_files() -> tuple[Path, ...]:
    """Modules that are long enough, in one order on every machine."""
    library = Path(sysconfig.get_path("stdlib"))
    return tuple(path for path in sorted(library.glob("*.py")) if path.stat().st_size > 40 * _MIN_LINES)


def some_source(rng: random.Random) -> tuple[str, list[str]]:
    """The name and the lines of a file."""
    path = rng.choice(source_files())
    return path.name, path.read_text(errors="replace").splitlines(keepends=True)
