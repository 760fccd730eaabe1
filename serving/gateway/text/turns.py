"""turns: any conversation as alternating turns of the user and of the model, the last of which the model continues."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serving.gateway.request import Message, Speaker


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says before the other does.

    Attributes:
      speaker: USER or MODEL.
      goes_on: the model continues its text; otherwise it is closed.
    """

    speaker: Speaker
    text: str
    goes_on: bool = False


def turns(messages: Sequence[Message]) -> Iterator[Turn]:
    """The turns of a conversation: the user's and the model's in alternation, at the end one that the model continues.

    Gemma has no turn for a system text: it is part of the user's, where it stands. What one of both says in several
    messages is one turn, with blank lines between. A last message of the model is continued where it ends; after one of
    the user the model's turn begins.
    """
    said: list[str] = []
    speaker = Speaker.USER
    for message in messages:
        due = Speaker.MODEL if message.speaker is Speaker.MODEL else Speaker.USER
        if said and due is not speaker:
            yield Turn(speaker, _one_text(said))
            said = []
        said.append(message.text)
        speaker = due
    if speaker is Speaker.USER:
        yield Turn(speaker, _one_text(said))
        yield Turn(Speaker.MODEL, "", goes_on=True)
    else:
        yield Turn(speaker, _one_text(said, ends=False), goes_on=True)


def _one_text(texts: Sequence[str], *, ends: bool = True) -> str:
    """Texts with blank lines between, without white space around them; one that does not end keeps its last."""
    *before, last = texts
    stripped = [*(text.strip() for text in before), last.strip() if ends else last.lstrip()]
    return "\n\n".join(filter(None, stripped))
