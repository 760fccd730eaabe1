"""What the engine needs of a model: run one step of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from serving.engine.request import SamplingParams, Token


class StepRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One sequence's share of a step. Its sequences are lists or tuples of Python's own int: they travel to hosts.

    Attributes:
      token_ids: the tokens to compute, at positions `start`, `start + 1`, ...; at least one.
      start: how many of the sequence's tokens are in the KV cache already.
      pages: the sequence's pages in order; they cover positions 0 up to the last of `token_ids`.
      sampling: how to draw the token that follows the last of `token_ids`; None when more of the prompt is to come.
    """

    token_ids: Sequence[int]
    start: int
    pages: Sequence[int]
    sampling: SamplingParams | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerLimits:
    """The sizes a runner was compiled for.

    Attributes:
      page_size: tokens in one KV page.
      num_pages: pages in the pool, identified as 0 .. num_pages - 1.
      max_rows: sequences in one step.
      max_step_tokens: tokens in one step, over all rows.
      max_context: tokens in one sequence, prompt and generation together.
    """

    page_size: int
    num_pages: int
    max_rows: int
    max_step_tokens: int
    max_context: int


class Runner(Protocol):
    """Executes step plans. Implemented by `sharding.runner.ModelRunner`, and by small fakes in tests."""

    @property
    def limits(self) -> RunnerLimits: ...

    def step(self, rows: Sequence[StepRow]) -> list[Token | None]:
        """Runs one step: a token for each row with `sampling`, None for the others, in the order of `rows`."""
        ...
