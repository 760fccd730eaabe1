"""sampling_params: what clients say of sampling, with values beyond the range that can only mean one thing."""

import random

from serving.gateway.validation import MAX_TEMPERATURE
from sharding.step import SamplingParams

_SEED_BITS = 32


def sampling_params(
    *,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    logprobs: int | None = None,
) -> SamplingParams:
    """The parameters of a generation.

    Args:
      temperature: above the highest is the highest.
      top_k: 0 and below keep all tokens.
      top_p: 0 keeps the likeliest token; 1 and above keep all.
      seed: any integer, reduced to 32 bits; None draws one.
      logprobs: as in `SamplingParams`.
    """
    return SamplingParams(
        temperature=min(temperature, MAX_TEMPERATURE),
        top_k=1 if top_p == 0 else max(top_k, 0),
        top_p=1.0 if top_p == 0 else min(top_p, 1.0),
        seed=random.getrandbits(_SEED_BITS) if seed is None else seed % 2**_SEED_BITS,
        logprobs=logprobs,
    )
