"""How the choices of a request draw, with values beyond the range taken into it where their meaning is plain."""

import math
import random

from msgspec.structs import replace

from serving.errors import FieldError, Reason
from serving.gateway.request import Biases
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import MAX_BIASES, SamplingParams

MAX_BIAS = 1000.0
"""What is beyond it forces or forbids a token as this does; logits of Gemma are below 100."""

_SEED_BITS = 32
_SEEDS = 2**_SEED_BITS
_ALL = 2**31 - 1
"""More tokens than any context has."""


def new_seed() -> int:
    """The seed of a request that names none."""
    return random.getrandbits(_SEED_BITS)


def of_last(sampling: SamplingParams, tokens: int) -> SamplingParams:
    """With penalties that count the last so many tokens, as llama.cpp's `repeat_last_n`; negative for all."""
    if tokens == 0:
        return replace(sampling, presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0)
    return replace(sampling, penalty_window=_ALL if tokens < 0 else min(tokens, _ALL))


def token_biases(biases: Biases, tokenizer: Tokenizer) -> tuple[tuple[int, float], ...]:
    """The biases of a model's tokens, by id.

    Raises:
      ServingError: INVALID_ARGUMENT: texts make more of them than a sequence can have.
    """
    sums: dict[int, float] = {}
    for token, bias in biases:
        ids = tokenizer.encode(token) if isinstance(token, str) else tokenizer.known([token])
        for token_id in ids:
            sums[token_id] = sums.get(token_id, 0.0) + _within(bias)
    if len(sums) > MAX_BIASES:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "logit_bias",
            f"has texts of {len(sums)} tokens; at most {MAX_BIASES} tokens can have a bias.",
        )
    return tuple((token_id, _within(bias)) for token_id, bias in sorted(sums.items()) if bias)


def _within(bias: float) -> float:
    return bias if bias == -math.inf else float(max(-MAX_BIAS, min(bias, MAX_BIAS)))


def of_choice(sampling: SamplingParams, choice: int, vocab_size: int) -> SamplingParams:
    """The sampling of one choice.

    Args:
      sampling: of the request: `seed` any integer; `top_k`, `top_p` and `min_p` 0 or more.
      choice: its index; seeds count up.
      vocab_size: to keep as many tokens or more is to keep all.
    """
    return replace(
        sampling,
        seed=(sampling.seed + choice) % _SEEDS,
        top_k=sampling.top_k if sampling.top_k < vocab_size else 0,
        top_p=min(sampling.top_p, 1.0),
        min_p=min(sampling.min_p, 1.0),
        penalty_window=sampling.penalty_window if sampling.has_penalties else None,
    )
