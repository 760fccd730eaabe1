"""Sequence: the state of one request while the engine generates for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from serving.engine.request import GenerationChunk, GenerationRequest

OnChunk = Callable[[GenerationChunk], None]
"""Receives the chunks of one request, in order, in the thread that runs the steps. It must return at once."""


class SequenceState(Enum):
    """Where a sequence is between submission and its last chunk."""

    WAITING = auto()
    RUNNING = auto()
    FINISHED = auto()


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One request's tokens and how much of them the KV cache holds.

    Prefill, decode and recomputation after a preemption are one thing here: `computed` catches up with `token_ids`,
    and once it has, the next token is sampled. So a preempted sequence loses its pages and nothing else: what it
    generated is part of what it computes again, and no token is sampled twice.

    Attributes:
      max_length: ends with `FinishReason.LENGTH` at this many tokens, prompt included.
      deadline: on the engine's clock; None for no deadline.
      token_ids: the prompt and what was generated after it.
      computed: how many of `token_ids`, from the first, have their keys and values in `pages`.
      pages: in order of position; with a row, they cover all of `token_ids` but a token sampled since the last step.
      cached_tokens: prompt tokens found in the prefix cache; None before the sequence first has a row.
    """

    request: GenerationRequest
    on_chunk: OnChunk
    max_length: int
    deadline: float | None = None
    state: SequenceState = SequenceState.WAITING
    token_ids: list[int] = field(init=False)
    computed: int = 0
    pages: list[int] = field(default_factory=list)
    cached_tokens: int | None = None

    def __post_init__(self) -> None:
        self.token_ids = list(self.request.prompt_ids)

    @property
    def uncomputed(self) -> int:
        """Tokens to compute before the next one can be sampled; 1 while decoding."""
        return len(self.token_ids) - self.computed

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - len(self.request.prompt_ids)
