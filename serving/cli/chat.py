"""`codegemma chat`: one answer, or a conversation."""

import sys
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner

from serving.cli.client import (
    DEFAULT_URL,
    ApiKeyOption,
    MaxTokensOption,
    ModelOption,
    TemperatureOption,
    UrlOption,
    connected,
    explain,
    say_error,
)

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


def chat(
    message: Annotated[
        str | None, typer.Argument(help="What to ask; - reads it from standard input. Without it: a conversation.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: ModelOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = 0.0,
    system: Annotated[str, typer.Option("--system", "-s", help="Instructions that hold for every answer.")] = "",
) -> None:
    """Ask about code: one question, or a conversation.

    In a conversation Ctrl-C stops the answer and Ctrl-D leaves.
    """
    if message == "-" or (message is None and not sys.stdin.isatty()):
        message = sys.stdin.read()
    with connected(url, api_key) as client:
        conversation = Conversation(client, model, max_tokens, temperature, system)
        if message is None:
            _converse(conversation, url)
        elif not _show(conversation.ask(message)):
            raise typer.Exit(INTERRUPTED)


class Conversation:
    """The turns so far, and the server that continues them."""

    def __init__(
        self, client: "OpenAI", model: str, max_tokens: int | None, temperature: float, system: str = ""
    ) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._turns: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}] if system else []

    def ask(self, message: str) -> Generator[str]:
        """The answer, piece by piece; closing the iterator closes the connection, which ends the server's work.

        A question that was answered, if only in part, becomes part of the conversation.
        """
        question: ChatCompletionMessageParam = {"role": "user", "content": message}
        answer = ""
        stream = self._client.chat.completions.create(
            model=self._model,
            messages=[*self._turns, question],
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            stream=True,
        )
        try:
            with closing(stream):
                for chunk in stream:
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        answer += piece
                        yield piece
        finally:
            if answer:
                self._turns += [question, {"role": "assistant", "content": answer}]


def _converse(conversation: Conversation, url: str) -> None:
    """Asks at the terminal until Ctrl-D."""
    import openai

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
            _show(conversation.ask(message))
        except openai.APIError as error:
            say_error(explain(error, url))


def _show(pieces: Generator[str]) -> bool:
    """Prints an answer while it comes in; False when Ctrl-C stopped it."""
    console = Console()
    try:
        with closing(pieces):
            if console.is_terminal:
                _render(console, pieces)
            else:
                for piece in pieces:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
                sys.stdout.write("\n")
    except KeyboardInterrupt:
        Console(stderr=True).print("(stopped)", style="dim")
        return False
    return True


def _render(console: Console, pieces: Iterator[str]) -> None:
    """A spinner until the first word, then the answer as it grows, at last the whole of it."""
    answer = Answer()
    try:
        with Live(answer, console=console, transient=True):
            for piece in pieces:
                answer.text += piece
    finally:
        if answer.text:
            console.print(Markdown(answer.text))


class Answer:
    """What is on the screen while an answer comes in: its end, as much as fits, and a spinner below."""

    def __init__(self) -> None:
        self.text = ""
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.text:
            lines = console.render_lines(Markdown(self.text), options.update(height=None))
            for line in lines[-(console.height - 2) :]:
                yield from line
                yield Segment.line()
        yield self._spinner
