"""`codegemma complete`: fill in code at a place in a file."""

import io
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.syntax import Syntax

from serving.cli.client import (
    DEFAULT_URL,
    ApiKeyOption,
    MaxTokensOption,
    ModelOption,
    TemperatureOption,
    UrlOption,
    connected,
)

if TYPE_CHECKING:
    from openai import OpenAI

SHOWN_LINES = 5
"""Lines before and after the completion that `--show` prints."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a file: the text before it and the text after it."""

    path: Path
    prefix: str
    suffix: str


def complete(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1.")],
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: ModelOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = 0.0,
    show: Annotated[
        bool, typer.Option("--show", help="Print the lines around the completion too, with the completion marked.")
    ] = False,
) -> None:
    """Complete the code at a place in a file, and print what goes there.

    The column is that of the character before which text is inserted; one past the end of the line appends to it.
    Without --show exactly the completion is printed, so that another program can insert it.
    """
    cursor = parse_place(place)
    with connected(url, api_key) as client, closing(_ask(client, cursor, model, max_tokens, temperature)) as pieces:
        if show:
            _show(cursor, pieces)
        else:
            _write(pieces)


def parse_place(place: str) -> Cursor:
    """Reads the file of `FILE:LINE:COL` and splits it there.

    Raises:
      typer.BadParameter: when the place is malformed, the file cannot be read, or it has no such line or column.
    """
    found = re.fullmatch(r"(?s)(.+):(\d+):(\d+)", place)
    if found is None:
        raise typer.BadParameter(f"'{place}' is not FILE:LINE:COL, for example src/app.py:12:5")
    path = Path(found[1])
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"'{path}' is not UTF-8 text (byte {error.start})") from None
    try:
        return Cursor(path, *split_at(text, int(found[2]), int(found[3])))
    except ValueError as error:
        raise typer.BadParameter(f"'{path}' {error}") from None


def split_at(text: str, line: int, column: int) -> tuple[str, str]:
    r"""Splits a text before the character at a line and column, both from 1, as editors count them.

    Lines end with \n, \r\n or \r; a column counts code points.

    Raises:
      ValueError: when there is no such line or column; says which there are.
    """
    lines = _lines(text)
    if not 1 <= line <= len(lines):
        raise ValueError(f"has lines 1 to {len(lines)}, and {line} is not among them")
    width = len(lines[line - 1].rstrip("\r\n"))
    if not 1 <= column <= width + 1:
        raise ValueError(f"has columns 1 to {width + 1} in line {line}, and {column} is not among them")
    offset = sum(map(len, lines[: line - 1])) + column - 1
    return text[:offset], text[offset:]


def _lines(text: str) -> list[str]:
    """The lines with their ends; after a last line break there is one more, empty line."""
    lines = list(io.StringIO(text, newline=""))
    return lines if lines and not lines[-1].endswith(("\n", "\r")) else [*lines, ""]


def _ask(client: "OpenAI", cursor: Cursor, model: str, max_tokens: int | None, temperature: float) -> Generator[str]:
    """The completion, piece by piece; closing the iterator closes the connection, which ends the server's work."""
    stream = client.completions.create(
        model=model,
        prompt=cursor.prefix,
        suffix=cursor.suffix,
        max_tokens=max_tokens,
        temperature=temperature,
        stream=True,
    )
    with closing(stream):
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].text


def _write(pieces: Iterator[str]) -> None:
    last = ""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece or last
    if sys.stdout.isatty() and not last.endswith("\n"):
        sys.stdout.write("\n")


def _show(cursor: Cursor, pieces: Iterator[str]) -> None:
    console = Console()
    text = ""
    with Live(_in_context(cursor, ""), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for piece in pieces:
            text += piece
            live.update(_in_context(cursor, text), refresh=console.is_terminal)


def _in_context(cursor: Cursor, completion: str) -> Syntax:
    """The completion, marked, between the lines around it."""
    before = _lines(cursor.prefix)
    above = "".join(before[-SHOWN_LINES - 1 :])
    below = "".join(_lines(cursor.suffix)[: SHOWN_LINES + 1])
    shown = Syntax(
        above + completion + below,
        lexer=Syntax.guess_lexer(str(cursor.path), cursor.prefix),
        line_numbers=True,
        start_line=max(1, len(before) - SHOWN_LINES),
        background_color="default",
    )
    shown.stylize_range("bold on dark_green", _position(above), _position(above + completion))
    return shown


def _position(text: str) -> tuple[int, int]:
    """Where a text ends, as Rich counts: line from 1, column from 0."""
    return text.count("\n") + 1, len(text) - text.rfind("\n") - 1
