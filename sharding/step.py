"""The vocabulary of a step: what an engine asks of a runner, and what it gets back.

Free of JAX, and all that `serving` says to `sharding` in a step: engine, hosts and runner use the same words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

MAX_LOGPROBS = 20
"""Most alternatives reported for a token; the width that a runner computes."""
MAX_DRAWS = 16
"""Most tokens that a row draws in one step."""
MAX_BIASES = 300
"""Most tokens of a sequence with a bias, as in OpenAI's API; the width of what a runner keeps."""
SLOTS_PER_ROW = 3
"""See `Limits.slots`."""
MAX_STOP_IDS = 8
"""Stop ids of a row that the device knows; what follows other stop ids is cut off by the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The sizes that a runner is compiled for.

    Attributes:
      page_size: tokens in one KV page.
      num_pages: P, pages of the KV cache, identified as 0 .. num_pages - 1.
      max_rows: sequences in one step.
      max_step_tokens: tokens in one step, over all rows.
      max_context: tokens in one sequence, prompt and generation together.
      adapters: S, LoRA adapters loaded at a time, identified as 1 .. S; 0: the model is compiled for none.
      adapter_rank: R, the highest rank of an adapter.
    """

    page_size: int
    num_pages: int
    max_rows: int
    max_step_tokens: int
    max_context: int
    adapters: int = 0
    adapter_rank: int = 0

    @property
    def pages_per_sequence(self) -> int:
        """Pages of a sequence of the greatest length."""
        return -(-self.max_context // self.page_size)

    @property
    def slots(self) -> int:
        """Sequences that a runner keeps: as many as have a row, those paused for them, and those of the step before."""
        return SLOTS_PER_ROW * self.max_rows


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How tokens are drawn: logits get biases, then penalties (`sharding/adjustment.py`), are divided by the
    temperature, and truncated by top-k, top-p and min-p (`sharding/sampling.py`).

    Attributes:
      temperature: 0 is greedy (exact argmax); otherwise logits are divided by it.
      top_k: keep the k most likely tokens (ties at the boundary are kept); 0 keeps all.
      top_p: keep the smallest set whose probability reaches this (ties are kept); 1 keeps all.
      seed: the draw at one position depends on this and the position alone, not on the batch. Unsigned 32 bits.
      logprobs: alternatives reported for each token, at most `MAX_LOGPROBS`; 0 reports the token's own
        log probability only; None reports none. Log probabilities are of the model's own distribution,
        before biases, penalties, temperature, top-k, top-p and min-p.
      min_p: keep the tokens with at least this part of the likeliest one's probability; 0 keeps all.
      presence_penalty: subtracted from the logits of tokens that have come.
      frequency_penalty: the same, as often as they have.
      repetition_penalty: above 0; logits of tokens that have come are divided by it, negative ones multiplied.
      penalty_window: what has come, for penalties: the last so many tokens of prompt and generation, as in llama.cpp.
        None: for the first two penalties what was generated, and for the third the prompt, too, as in vLLM.
      logit_bias: token ids, each once, and what is added to their logits; -inf forbids a token. At most `MAX_BIASES`.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    logprobs: int | None = None
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    penalty_window: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()

    @property
    def has_penalties(self) -> bool:
        """Whether draws depend on which tokens have come."""
        return (self.presence_penalty, self.frequency_penalty, self.repetition_penalty) != (0, 0, 1)


class Opening(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a runner keeps of a sequence for as long as it has its slot.

    Attributes:
      sampling: how its tokens are drawn.
      stop_ids: drawing ends with any of these, of which the first `MAX_STOP_IDS` count; the device saves what would
        come after them.
      token_ids: what the sequence has so far, where `sampling` has penalties; else nothing.
      prompt_tokens: how many of these are its prompt's.
      adapter: which of the loaded adapters computes it, 1 .. `Limits.adapters`; 0: the model as it is.
    """

    sampling: SamplingParams = SamplingParams()
    stop_ids: Sequence[int] = []
    token_ids: Sequence[int] = []
    prompt_tokens: int = 0
    adapter: int = 0


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One sequence's share of a step. Its sequences are lists or tuples of Python's own int: they travel to hosts.

    A runner keeps for each slot what does not change from step to step, so that a row that goes on says little:
    the sequence's pages, how it draws, and the token it drew last.

    Attributes:
      slot: where the runner keeps the sequence, 0 .. `Limits.slots` - 1.
      start: the position of the first token to compute; what comes before is in the KV cache.
      token_ids: the tokens to compute, at `start`, `start + 1`, ...; empty for the one that the slot drew last, which
        the host may not know yet.
      targets: the tokens that are known to follow the first of `token_ids`, each the one after it, whose log
        probabilities are asked for; a last token that draws has none.
      draws: how many tokens to draw after the last of them: 0 while more of the prompt is to come; more than one only
        in a step whose rows all compute one token. Fewer are drawn when one is a stop id.
      pages: pages to keep in the slot from its page number `first_page` on, in place of those known so far. All that
        are known then cover the tokens to compute and those drawn but the last.
      first_page: see `pages`.
      opening: of a sequence that has not had this slot in the step before; it takes the slot.
    """

    slot: int
    start: int
    token_ids: Sequence[int] = []
    targets: Sequence[int] = []
    draws: int = 0
    pages: Sequence[int] = []
    first_page: int = 0
    opening: Opening | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens to compute before the first draw."""
        return len(self.token_ids) or 1

    @property
    def num_outputs(self) -> int:
        """Tokens after which the step computes logits: those before `targets`, and the last one in any case."""
        return len(self.targets) + (len(self.targets) < self.num_tokens)

    @property
    def end(self) -> int:
        """One past the last position whose keys and values the step writes, if it draws all it may."""
        return self.start + self.num_tokens + max(self.draws - 1, 0)


class Token(msgspec.Struct, frozen=True, array_like=True):
    """A token drawn, or a target; `logprob` and `top` are filled when the sequence asked for log probabilities.

    Attributes:
      top: the most likely tokens at this position, most likely first: (token id, log probability).
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
