"""The small model that tests of adapters serve, four adapters for it, and what it has to draw with each."""

from functools import cache

import numpy as np

from sharding.step import Limits
from tests.sharding.random_adapters import merged, model_parameters, random_adapter
from tests.sharding.small_models import LOCAL, dense_logits

LIMITS = Limits(page_size=4, num_pages=40, max_rows=2, max_step_tokens=16, max_context=24, adapters=2, adapter_rank=4)
PROMPT = tuple(int(token) for token in np.random.default_rng(4).integers(0, LOCAL.vocab_size, 9))
TOKENS = 5
ADAPTERS = {name: random_adapter(LOCAL, number, 2 + number % 3) for number, name in enumerate("abcd")}


@cache
def drawn_by_merged_model(contents: str) -> list[int]:
    """The tokens after `PROMPT`, with one of `ADAPTERS` or, for no name, without any."""
    parameters = model_parameters(LOCAL)
    if contents:
        parameters = merged(parameters, ADAPTERS[contents])
    tokens = list(PROMPT)
    for _ in range(TOKENS):
        tokens.append(int(dense_logits(LOCAL, parameters, tokens)[-1].argmax()))
    return tokens[len(PROMPT) :]
