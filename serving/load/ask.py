"""Ask and Outcome: one request of a simulated developer, and what became of it."""

from dataclasses import dataclass
from typing import Literal

from serving.gateway.request import FimPrompt, Message


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked.

    Attributes:
      prompt: code around a cursor, or a conversation.
      session: one cursor of one developer.
      max_tokens: of the answer.
    """

    prompt: FimPrompt | tuple[Message, ...]
    session: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
      kind: what was asked for.
      started_s: since the beginning of the load.
      first_s: until the first text; None if there was none.
      total_s: until the end.
      pieces: of text; the first token is one, tokens that come together count as one.
      end: `complete`, `cancelled` by the next keystroke, or what the service said.
    """

    kind: Literal["typing", "chat"]
    started_s: float
    first_s: float | None
    total_s: float
    pieces: int
    end: str
