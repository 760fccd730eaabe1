"""A chat answer at a terminal, as Markdown."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner

from serving.cli.answer import Answer


def show_answer(console: Console, answer: Answer) -> None:
    """Shows a spinner until the first word, then the answer as it grows, at last the whole of it."""
    try:
        with Live(_Growing(answer), console=console, transient=True):
            for _ in answer:
                pass  # the screen follows `answer.text` by itself
    finally:
        if answer.text:
            console.print(Markdown(answer.text))


class _Growing:
    """What is on the screen while an answer comes in: its end, as much as fits, and a spinner below."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._answer.text:
            lines = console.render_lines(Markdown(self._answer.text), options.update(height=None))
            for line in lines[-(console.height - 2) :]:
                yield from line
                yield Segment.line()
        yield self._spinner
