"""How a conversation is written for a model: with the control tokens of an instruction-tuned one, or as a transcript.

A base model has turn tokens in its vocabulary but has not learnt what they mean: after them Gemma 3 270M repeats the
question. It continues a transcript as it continues any text, and would go on to ask the next question itself: the
answer ends where it begins to.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serving.config import ChatFormat
from serving.gateway.request import Message, Speaker
from serving.gateway.text.tokenizer import END_OF_TURN, START_OF_TURN, Tokenizer
from serving.gateway.text.turns import Turn, turns


class ConversationFormat(ABC):
    """Writes conversations for one model.

    Attributes:
      stops: texts at which an answer ends.
    """

    stops: tuple[str, ...] = ()

    def text(self, messages: Sequence[Message]) -> str:
        """A conversation as a raw prompt, without BOS."""
        return "".join(map(self._turn_text, turns(messages)))

    @abstractmethod
    def token_ids(self, messages: Sequence[Message], limit: int) -> Iterator[Sequence[int]]:
        """The ids of a conversation, turn by turn, without BOS. Nothing in its texts becomes a control token.

        Of a turn with more than `limit` ids not all may be there.
        """

    @abstractmethod
    def _turn_text(self, turn: Turn) -> str: ...


@dataclass(frozen=True)
class GemmaTurns(ConversationFormat):
    """Gemma's chat template (https://ai.google.dev/gemma/docs/core/prompt-structure).

    Attributes:
      start, end: the ids of the turn tokens.
    """

    tokenizer: Tokenizer
    start: int
    end: int

    def token_ids(self, messages: Sequence[Message], limit: int) -> Iterator[Sequence[int]]:
        newline = self.tokenizer.encode("\n")
        for turn in turns(messages):
            yield [self.start, *self.tokenizer.encode(f"{turn.speaker}\n{turn.text}", limit)]
            if not turn.goes_on:
                yield [self.end, *newline]

    def _turn_text(self, turn: Turn) -> str:
        return f"{START_OF_TURN}{turn.speaker}\n{turn.text}{'' if turn.goes_on else f'{END_OF_TURN}\n'}"


@dataclass(frozen=True)
class Transcript(ConversationFormat):
    """Questions and answers in plain text, with their headings on lines of their own."""

    tokenizer: Tokenizer
    stops = tuple(f"{before}{heading}:" for heading in ("Question", "Answer") for before in ("\n\n", "\n"))

    def token_ids(self, messages: Sequence[Message], limit: int) -> Iterator[Sequence[int]]:
        for turn in turns(messages):
            yield self.tokenizer.encode(self._turn_text(turn), limit)

    def _turn_text(self, turn: Turn) -> str:
        heading = "Question" if turn.speaker is Speaker.USER else "Answer"
        return f"{heading}:\n{turn.text}{'' if turn.goes_on else '\n\n'}"


def conversation_format(tokenizer: Tokenizer, name: ChatFormat) -> ConversationFormat | None:
    """The format of that name; None if it takes control tokens that the vocabulary lacks."""
    if name == "transcript":
        return Transcript(tokenizer)
    start, end = tokenizer.control_id(START_OF_TURN), tokenizer.control_id(END_OF_TURN)
    return None if start is None or end is None else GemmaTurns(tokenizer, start, end)
