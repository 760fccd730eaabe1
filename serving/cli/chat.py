"""`codegemma chat`: one answer, or a conversation."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Annotated

import typer
from rich.console import Console

from serving.cli.answer import CUT_NOTE, Answer
from serving.cli.client import Client, ServerError, connected
from serving.cli.errors import say_error, say_note
from serving.cli.options import (
    DEFAULT_URL,
    ApiKeyOption,
    MaxTokensOption,
    ModelOption,
    TemperatureOption,
    UrlOption,
)

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


def chat(
    message: Annotated[
        str | None,
        typer.Argument(help="The question; - reads it from standard input. Without one, a conversation starts."),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: ModelOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = 0.0,
    system: Annotated[str, typer.Option("--system", "-s", help="Instructions for every answer.")] = "",
) -> None:
    """Ask about code: one question, or a conversation.

    In a conversation Ctrl-C stops the answer and Ctrl-D leaves.
    """
    if message == "-" or (message is None and not sys.stdin.isatty()):
        message = sys.stdin.read()
    with connected(url, api_key) as client:
        conversation = Conversation(client, model, max_tokens, temperature, system)
        if message is None:
            _converse(conversation)
        elif not _show(conversation, message):
            raise typer.Exit(INTERRUPTED)


class Conversation:
    """The turns so far, and the server that continues them."""

    def __init__(
        self, client: Client, model: str, max_tokens: int | None, temperature: float, system: str = ""
    ) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._turns = [{"role": "system", "content": system}] if system else []

    @contextmanager
    def ask(self, message: str) -> Iterator[Answer]:
        """The answer; it is aborted if the block ends first.

        A question that was answered, if only in part, becomes part of the conversation.
        """
        question = {"role": "user", "content": message}
        answer = self._client.ask(
            "chat/completions",
            model=self._model,
            messages=[*self._turns, question],
            max_tokens=self._max_tokens,
            temperature=self._temperature,
        )
        try:
            with closing(answer):
                yield answer
        finally:
            if answer.text:
                self._turns += [question, {"role": "assistant", "content": answer.text}]


def _converse(conversation: Conversation) -> None:
    """Asks at the terminal until Ctrl-D."""
    with suppress(ImportError):
        import readline  # noqa: F401  (line editing and history for input())

    console = Console()
    console.print("Ctrl-C stops an answer, Ctrl-D leaves.", style="dim")
    while True:
        try:
            message = input("> ")  # not console.input: keys typed at a prompt that readline did not print are lost
        except KeyboardInterrupt:
            console.print()
            continue
        except EOFError:
            console.print()
            return
        if not message.strip():
            continue
        try:
            _show(conversation, message)
        except ServerError as error:
            say_error(str(error))


def _show(conversation: Conversation, message: str) -> bool:
    """Prints an answer while it comes in; False when Ctrl-C stopped it."""
    console = Console()
    try:
        with conversation.ask(message) as answer:
            if console.is_terminal:
                from serving.cli.answer_view import show_answer  # here: a pipe sees no Markdown

                show_answer(console, answer)
            else:
                for piece in answer:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
                sys.stdout.write("\n")
    except KeyboardInterrupt:
        say_note("(stopped)")
        return False
    if answer.is_cut:
        say_note(CUT_NOTE)
    return True
