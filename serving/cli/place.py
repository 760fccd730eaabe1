"""Cursor: a place in a file, read from FILE:LINE:COL."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import typer


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a file: the text before it and the text after it."""

    path: Path
    prefix: str
    suffix: str


def parse_place(place: str) -> Cursor:
    """Reads the file of `FILE:LINE:COL` and splits it there.

    Raises:
      typer.BadParameter: when the place is malformed, the file cannot be read, or it has no such line or column.
    """
    found = re.fullmatch(r"(?s)(.+):(\d+):(\d+)", place)
    if found is None:
        raise typer.BadParameter(f"'{place}' is not FILE:LINE:COL, for example src/app.py:12:5")
    path = Path(found[1])
    text = read_text(path)
    try:
        return Cursor(path, *split_at(text, int(found[2]), int(found[3])))
    except ValueError as error:
        raise typer.BadParameter(f"'{path}' {error}") from None


def read_text(path: Path) -> str:
    """The text of a file, with its line ends as they are.

    Raises:
      typer.BadParameter: when it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"'{path}' is not UTF-8 text (byte {error.start})") from None


def split_at(text: str, line: int, column: int) -> tuple[str, str]:
    r"""Splits a text before the character at a line and column, both from 1, as editors count them.

    Lines end with \n, \r\n or \r; a column counts code points.

    Raises:
      ValueError: when there is no such line or column; says which there are.
    """
    lines = lines_of(text)
    if not 1 <= line <= len(lines):
        raise ValueError(f"has lines 1 to {len(lines)}, and {line} is not among them")
    width = len(lines[line - 1].rstrip("\r\n"))
    if not 1 <= column <= width + 1:
        raise ValueError(f"has columns 1 to {width + 1} in line {line}, and {column} is not among them")
    offset = sum(map(len, lines[: line - 1])) + column - 1
    return text[:offset], text[offset:]


def lines_of(text: str) -> list[str]:
    """The lines with their ends; after a last line break there is one more, empty line."""
    lines = list(io.StringIO(text, newline=""))
    return lines if lines and not lines[-1].endswith(("\n", "\r")) else [*lines, ""]
