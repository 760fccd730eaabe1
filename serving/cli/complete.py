"""`codegemma complete`: fill in code at a place in a file."""

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from serving.cli.answer import CONTEXT_NOTE, CUT_NOTE
from serving.cli.client import connected
from serving.cli.errors import say_note
from serving.cli.options import (
    DEFAULT_URL,
    ApiKeyOption,
    MaxTokensOption,
    ModelOption,
    TemperatureOption,
    UrlOption,
)
from serving.cli.place import parse_place, read_text


def complete(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1.")],
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: ModelOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = 0.0,
    language: Annotated[
        str,
        typer.Option("--language", "-l", help="Language id of editors, such as python. Default: from the file's name."),
    ] = "",
    context: Annotated[
        list[Path] | None,
        typer.Option("--context", "-c", metavar="FILE", help="Another file for the model to see. Repeatable."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the lines around the completion too, and mark the completion.")
    ] = False,
) -> None:
    """Complete the code at a place in a file, up to the end of its block, and print the completion.

    The column is that of the character before which text is inserted; one past the end of the line appends to it.
    Without --show exactly the completion is printed, so that another program can insert it.
    """
    cursor = parse_place(place)
    with connected(url, api_key) as client:
        answer = client.ask(
            "completions",
            model=model,
            prompt=cursor.prefix,
            suffix=cursor.suffix,
            path=str(cursor.path),
            language=language or None,
            context_files=[{"path": str(file), "text": read_text(file)} for file in context or ()] or None,
            post_processing=True,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        with closing(answer):
            if show:
                from serving.cli.completion_view import show_completion  # here: it takes 0.05 s to import

                show_completion(cursor, answer)
            else:
                _write(answer)
    if answer.is_cut and sys.stderr.isatty():
        say_note(CUT_NOTE)
    if answer.lacks_context and sys.stderr.isatty():
        say_note(CONTEXT_NOTE)


def _write(pieces: Iterable[str]) -> None:
    last = ""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece
    if sys.stdout.isatty() and not last.endswith("\n"):
        sys.stdout.write("\n")
