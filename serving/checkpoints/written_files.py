"""WrittenFiles: which files of an unfinished directory are complete, and the hashes of all once it is."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sharding.checkpoint import CheckpointError
from sharding.checkpoint.small_file import read_small_file

SUMS_FILE = "SHA256SUMS"
"""In the form of coreutils: `sha256sum --check SHA256SUMS` verifies a directory."""
_MOST_BYTES = 2**20
"""Of it."""
_SUM = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")
"""A line of it: the hash, how coreutils read the file, its name."""
_RECORD_FILE = "written.json"


class WrittenFiles:
    """The record of what was written, in the directory itself, for the process that goes on after this one."""

    def __init__(self, directory: Path, made_from: object) -> None:
        """Takes over what is recorded there; empties the directory if that was made from something else.

        Args:
          directory: one that is there.
          made_from: whatever the content depends on, as JSON.
        """
        self._directory = directory
        self._made_from = json.loads(json.dumps(made_from))
        self._sums: dict[str, str] = self._recorded()

    def is_written(self, file: Path) -> bool:
        """Whether a file is complete, by its hash."""
        expected = self._sums.get(file.name)
        return expected is not None and file.is_file() and sha256(file) == expected

    def add(self, file: Path) -> None:
        """Records a file that is complete."""
        self._sums[file.name] = sha256(file)
        record = {"made_from": self._made_from, "sums": self._sums}
        partial = self._directory / f"{_RECORD_FILE}.partial"
        partial.write_text(json.dumps(record))
        partial.replace(self._directory / _RECORD_FILE)

    def remove_incomplete(self) -> None:
        """Leaves the files that are complete and their record, or nothing if there are none."""
        kept = {*self._sums, _RECORD_FILE} if self._sums else set()
        for file in self._directory.iterdir():
            if file.name not in kept:
                file.unlink()

    def finish(self, origin: str | None) -> None:
        """Writes `SUMS_FILE` over all files, with what they are from if that is known, and removes the record."""
        files = sorted(file for file in self._directory.iterdir() if file.name not in (_RECORD_FILE, SUMS_FILE))
        sums = {file.name: self._sums.get(file.name) or sha256(file) for file in files}
        write_sums(self._directory, sums, origin)
        (self._directory / _RECORD_FILE).unlink(missing_ok=True)

    def _recorded(self) -> dict[str, str]:
        try:
            record = json.loads((self._directory / _RECORD_FILE).read_bytes())
            if record["made_from"] == self._made_from:
                return dict(record["sums"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none, or no whole one
        for path in self._directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return {}


def sha256(file: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_sums(directory: Path, sums: Mapping[str, str], origin: str | None) -> None:
    """Writes a directory's `SUMS_FILE`: hashes by path, and as a comment what the files are from, if that is known."""
    lines = [f"# {origin}"] if origin else []
    lines += [f"{digest}  {name}" for name, digest in sums.items()]
    (directory / SUMS_FILE).write_text("".join(f"{line}\n" for line in lines))


def origin_of(directory: Path) -> str | None:
    """What a directory's files are from, as its `SUMS_FILE` says; None if that is not known."""
    try:
        with (directory / SUMS_FILE).open() as file:
            first = file.readline(_MOST_BYTES)
    except (OSError, UnicodeDecodeError):
        return None
    return first.removeprefix("# ").strip() if first.startswith("# ") else None


def wrong_sums(directory: Path, on_progress: Callable[[int, int], None]) -> list[str]:
    """What is wrong with the files that a directory's `SUMS_FILE` names; nothing, where there is none.

    Calls `on_progress(done, total)`, in lines of it.
    """
    file = directory / SUMS_FILE
    if not file.exists():
        return []
    try:
        lines = read_small_file(file, _MOST_BYTES).decode(errors="replace").splitlines()
        problems = []
        for number, line in enumerate(lines, 1):
            problems += _wrong(directory, line)
            on_progress(number, len(lines))
        return problems
    except CheckpointError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or directory} cannot be read: {error.strerror}."]


def _wrong(directory: Path, line: str) -> list[str]:
    if not line.strip() or line.startswith("#"):
        return []
    match = _SUM.fullmatch(line)
    if match is None or Path(match[2]).is_absolute() or ".." in Path(match[2]).parts:
        return [f"{directory / SUMS_FILE}: {line[:100]!r} is no hash of a file in this directory."]
    file = directory / match[2]
    if not file.is_file():
        return [f"{directory / SUMS_FILE}: names {match[2][:100]!r}, which is absent."]
    if sha256(file) != match[1].lower():
        return [f"{file}: its hash is not the one in {SUMS_FILE}. Fetch the file again."]
    return []
