"""Sequence: the state of one request while the engine generates for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from serving.engine.adapters import AdapterSlot
from serving.engine.prefix_cache import Domain
from serving.engine.request import GenerationChunk, GenerationRequest, Priority
from serving.engine.timeline import Timeline

OnChunk = Callable[[GenerationChunk], None]
"""Receives the chunks of one request, in order and never two at once. It must return at once."""


class SequenceState(Enum):
    """Where a sequence is between submission and its last chunk."""

    WAITING = auto()
    """Without pages: not started, or preempted."""
    RUNNING = auto()
    """With pages. It is paused in a step in which others take all rows or tokens."""
    FINISHED = auto()


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One request's tokens and how much of them the KV cache holds.

    Prefill, decode and recomputation after a preemption are one thing here: `launched` catches up with the tokens, and
    once it has, the next one is drawn. So a preempted sequence loses its pages and nothing else: what it generated is
    part of what it computes again, and no token is drawn twice.

    Steps are launched before those ahead of them have landed. A sequence then goes on as if each of them drew all the
    tokens that it may; if one turns out to have ended it, what was launched after that one counts for nothing.

    Attributes:
      priority: the class of the request.
      max_length: ends with `FinishReason.LENGTH` at this many tokens, prompt included.
      arrival: counts the sequences of an engine.
      sent_at: Unix time at which the request was sent.
      deadline: on the engine's clock; None for no deadline.
      token_ids: the prompt and what was generated after it, as far as steps have landed.
      in_flight: steps with a row of it that have not landed.
      drawing: tokens that those may draw.
      launched: tokens, from the first, whose keys and values are in `pages` once all launched steps have landed.
      computed: the same of the steps that have landed.
      adapter: what computes it, from when there is a place for that until it ends; None without one.
      slot: where the runner keeps it; None while it has no pages.
      opened: whether the runner knows that the slot is its.
      pages: in order of position; while running, they cover all tokens, those being drawn included, but one drawn since
        it last had a row.
      known_pages: how many of `pages`, from the first, the runner knows.
      cached_tokens: prompt tokens found in the prefix cache; None before the sequence first has pages.
      scored: tokens, from the first, after which nothing has to be scored any more once all launched steps have
        landed; a sequence that loses its pages keeps what was scored.
      given: tokens given to `on_chunk` so far.
      timeline: what was done for it and when; None unless its request is followed.
      last_step: the scheduler's number of the last step that computes something of it, or before which it came.
    """

    request: GenerationRequest
    on_chunk: OnChunk
    max_length: int
    arrival: int
    sent_at: float
    deadline: float | None = None
    priority: Priority = field(init=False)
    state: SequenceState = SequenceState.WAITING
    token_ids: list[int] = field(init=False)
    in_flight: int = 0
    drawing: int = 0
    launched: int = 0
    computed: int = 0
    adapter: AdapterSlot | None = None
    slot: int | None = None
    opened: bool = False
    pages: list[int] = field(default_factory=list)
    known_pages: int = 0
    cached_tokens: int | None = None
    scored: int = field(init=False)
    given: int = 0
    last_step: int = 0
    timeline: Timeline | None = None

    def __post_init__(self) -> None:
        self.priority = self.request.priority
        self.token_ids = list(self.request.prompt_ids)
        self.scored = 0 if self.request.scores_prompt else self._to_score

    @property
    def rank(self) -> tuple[float, int]:
        """Sorts the waiting sequences of one class: by deadline, then by arrival."""
        return (math.inf if self.deadline is None else self.deadline, self.arrival)

    @property
    def keystroke(self) -> tuple[bool, float]:
        """Sorts the requests of a session: what is sent again was sent before all that is sent for the first time."""
        return (not self.request.repeated, self.sent_at)

    @property
    def waits_for_adapter(self) -> bool:
        """Whether it has to have one that is not loaded yet."""
        return bool(self.request.adapter) and (self.adapter is None or not self.adapter.version)

    @property
    def domain(self) -> Domain:
        """Whose pages of the prefix cache it may have, once it has its adapter."""
        cache_domain = self.request.cache_domain
        return cache_domain if self.adapter is None else (self.adapter.version, cache_domain)

    @property
    def prompt_left(self) -> int:
        """Prompt tokens to compute."""
        return max(0, len(self.request.prompt_ids) - self.launched)

    @property
    def length(self) -> int:
        """Tokens of the prompt and after it, those being drawn included."""
        return len(self.token_ids) + self.drawing

    @property
    def unlaunched(self) -> int:
        """Tokens to compute before the next draw: 1 while decoding, 0 once it has as many as it may have."""
        length = self.length
        return length - self.launched if length < self.max_length else 0

    @property
    def scores(self) -> bool:
        """Whether the tokens to compute next are to be scored."""
        return self.launched == self.scored < self._to_score

    @property
    def cacheable(self) -> int:
        """Tokens, from the first, whose keys and values may be another's: what is to be scored must be computed."""
        return self.scored if self.scored < self._to_score else len(self.token_ids)

    @property
    def most_at_once(self) -> int:
        """Tokens to compute in one step at most, as far as it has outputs for those that are scored."""
        return self.scored - self.launched if self.launched < self.scored < self._to_score else self.unlaunched

    def targets(self, tokens: int) -> list[int]:
        """What is known to follow each of the next tokens to compute, as far as that is to be scored."""
        end = min(self.launched + tokens, self._to_score) if self.scores else self.launched
        return self.token_ids[self.launched + 1 : end + 1]

    @property
    def _to_score(self) -> int:
        """All tokens of the prompt but the last one, after which a token is drawn."""
        return len(self.request.prompt_ids) - 1
