"""Answer: a completion or a chat answer while it comes in from a server, in OpenAI's form."""

from collections.abc import Generator, Iterator

import msgspec

CUT_NOTE = "(cut at the limit of tokens: --max-tokens sets it, up to the model's context)"
CONTEXT_NOTE = "(not all of the context files fit: they have half of the model's context)"


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class Event(msgspec.Struct):
    """What one event of a stream says of the answer."""

    choices: list[_Choice] = []
    truncated: bool = False


class Answer:
    """An answer, piece by piece; closing it closes the connection, which ends the server's work.

    Attributes:
      text: what has come so far.
      is_cut: whether the limit of tokens ended it, as far as the server has said.
      lacks_context: whether some of the context files were left out, as far as the server has said.
    """

    def __init__(self, events: Generator[Event]) -> None:
        self._events = events
        self.text = ""
        self.is_cut = False
        self.lacks_context = False

    def __iter__(self) -> Iterator[str]:
        for event in self._events:
            self.lacks_context |= event.truncated
            for choice in event.choices:
                self.is_cut |= choice.finish_reason == "length"
                piece = choice.text or (choice.delta and choice.delta.content)
                if piece:
                    self.text += piece
                    yield piece

    def close(self) -> None:
        """Aborts the rest of the answer."""
        self._events.close()
