"""Damage to files as a whole: they are missing, no files, other files, or change while they are read."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.damage.kinds.damage import Damage, Draw, Kind, pick

_SUPERFLUOUS = ("SHA256SUMS", "common.pt", "metadata.json")
"""Files that no reader needs."""


def _any(file: Path) -> bool:
    return True


def _beside(file: Path) -> list[Path]:
    return [each for each in sorted(file.parent.iterdir()) if each.is_file() and each != file]


def missing(file: Path, draw: Draw) -> None:
    file.unlink()


def empty(file: Path, draw: Draw) -> None:
    file.write_bytes(b"")


def directory(file: Path, draw: Draw) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path, draw: Draw) -> None:
    """Whoever opens it waits for a writer."""
    file.unlink()
    os.mkfifo(file)


def link(file: Path, draw: Draw) -> None:
    """To itself, to nothing, to a device without end, to a folder, or to a file that cannot be read."""
    file.unlink()
    file.symlink_to(pick(draw, [file.name, "absent", "/dev/zero", "/dev/null", "..", "/proc/self/mem"]))


def replaced(file: Path, draw: Draw) -> None:
    """By another file of the checkpoint."""
    if others := _beside(file):
        shutil.copy(pick(draw, others), file)
    else:
        file.write_bytes(file.read_bytes() * 2)


def exchanged(file: Path, draw: Draw) -> None:
    """With another file of the checkpoint."""
    if others := _beside(file):
        other = pick(draw, others)
        ours, theirs = file.read_bytes(), other.read_bytes()
        file.write_bytes(theirs)
        other.write_bytes(ours)
    else:
        file.write_bytes(b"")


def twice(file: Path, draw: Draw) -> None:
    """Also there under another name."""
    ending = pick(draw, [f"0{file.suffix}", file.suffix, ".safetensors", ".gguf", ".ckpt", ".weights.h5", ".0.0"])
    shutil.copy(file, file.with_name(f"{file.stem}{ending}" if ending != file.suffix else f"copy-{file.name}"))


def _is_no_chunk(file: Path) -> bool:
    """A chunk that is taken for another one of the same shape is as good as that to every reader."""
    return not file.name.replace(".", "").isdigit()


def _kind(act: Callable[[Path, Draw], None]) -> Kind:
    def damage(file: Path, draw: Draw) -> Damage:
        act(file, draw)
        return Damage(text=f"{file.name} is {act.__name__}")

    return Kind(_is_no_chunk if act in (replaced, exchanged) else _any, damage)


def _later(act: Callable[[Path], object], name: str) -> Kind:
    def damage(file: Path, draw: Draw) -> Damage:
        return Damage(text=f"{file.name} is {name} while it is read", afterwards=lambda: act(file))

    return Kind(lambda file: file.stat().st_size > 4096, damage)


FILES = {act.__name__: _kind(act) for act in (missing, empty, directory, pipe, link, replaced, exchanged, twice)} | {
    "shorter later": _later(lambda file: os.truncate(file, 1000), "shorter"),
    "gone later": _later(lambda file: file.unlink(), "gone"),
}
