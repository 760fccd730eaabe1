"""A completion, marked, between the lines around it."""

from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.syntax import Syntax

from serving.cli.place import Cursor, lines_of

SHOWN_LINES = 5
"""Lines before and after the completion that are shown."""


def show_completion(cursor: Cursor, pieces: Iterable[str]) -> None:
    """Prints the completion in its place, as it comes in."""
    console = Console()
    text = ""
    with Live(_in_context(cursor, ""), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for piece in pieces:
            text += piece
            live.update(_in_context(cursor, text), refresh=console.is_terminal)


def _in_context(cursor: Cursor, completion: str) -> Syntax:
    before = lines_of(cursor.prefix)
    above = "".join(before[-SHOWN_LINES - 1 :])
    below = "".join(lines_of(cursor.suffix)[: SHOWN_LINES + 1])
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
