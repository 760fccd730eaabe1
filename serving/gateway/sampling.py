"""How the choices of a request draw, with values beyond the range taken into it where their meaning is plain."""

import random

from msgspec.structs import replace

from sharding.step import SamplingParams

_SEED_BITS = 32
_SEEDS = 2**_SEED_BITS


def new_seed() -> int:
    """The seed of a request that names none."""
    return random.getrandbits(_SEED_BITS)


def of_choice(sampling: SamplingParams, choice: int, vocab_size: int) -> SamplingParams:
    """The sampling of one choice.

    Args:
      sampling: of the request: `seed` any integer, `top_k` 0 or more, `top_p` 0 or more.
      choice: its index; seeds count up.
      vocab_size: to keep as many tokens or more is to keep all.
    """
    return replace(
        sampling,
        seed=(sampling.seed + choice) % _SEEDS,
        top_k=sampling.top_k if sampling.top_k < vocab_size else 0,
        top_p=min(sampling.top_p, 1.0),
    )
