"""Tensor parallelism: any number of devices computes the same."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sharding.config import GemmaConfig
from sharding.step import SamplingParams, Token
from tests.sharding.small_models import (
    LIMITS,
    LOCAL,
    MHA,
    MQA,
    dense_logits,
    host_parameters,
    make_runner,
    relative_error,
    row,
    step,
)

ONE_ROW = replace(LIMITS, max_rows=1, max_step_tokens=16)
PROMPT = [int(token) for token in np.random.default_rng(5).integers(0, 128, 16)]
GQA = replace(LOCAL, num_heads=8)
"""Two KV heads: fewer than devices, but more than one."""
CASES = [
    pytest.param(config, devices, id=f"{name}-{devices}")
    for name, config, degrees in [("mqa", MQA, (1, 2, 4, 8)), ("mha", MHA, (2, 8)), ("gqa", GQA, (2, 4))]
    for devices in degrees
]


def drawn(tokens: Sequence[Token | None]) -> Token:
    """The one token of a step."""
    (token,) = tokens
    assert token is not None
    return token


@pytest.mark.parametrize(("config", "devices"), CASES)
def test_logits_and_greedy_tokens_are_those_of_a_dense_model(config: GemmaConfig, devices: int) -> None:
    runner = make_runner(config, devices, ONE_ROW)
    tokens = [drawn(step(runner, [row(PROMPT, 0, [4, 9])])).id]
    for _ in range(6):
        tokens.append(drawn(step(runner, [row(tokens[-1:], len(PROMPT) + len(tokens) - 1, [4, 9, 2])])).id)
    expected = dense_logits(config, host_parameters(config), PROMPT + tokens)
    assert tokens == expected[len(PROMPT) - 1 : -1].argmax(-1).tolist()
    (logits,) = runner.logits([row(tokens[-1:], len(PROMPT) + len(tokens) - 1, [4, 9, 2])])
    assert relative_error(logits, expected[-1]) < 1e-5


def test_a_random_draw_does_not_depend_on_the_number_of_devices() -> None:
    sampling = SamplingParams(temperature=1.0, top_k=50, top_p=0.9, seed=3, logprobs=5)
    rows = [row(PROMPT, 0, [0, 1], sampling)]
    draws = [drawn(step(make_runner(MQA, devices, ONE_ROW), rows)) for devices in (1, 2, 4)]
    assert len({draw.id for draw in draws}) == 1
    assert len({tuple(token for token, _ in draw.top) for draw in draws}) == 1


@pytest.mark.parametrize("config", [MQA, MHA], ids=["mqa", "mha"])
def test_devices_exchange_two_sums_per_layer_and_one_for_the_embeddings(config: GemmaConfig) -> None:
    for bucket, compiled in make_runner(config, 8, ONE_ROW).steps.by_bucket.items():
        if bucket.decodes:  # the sampler is part of it
            continue
        collectives = re.findall(
            r" (all-reduce|all-gather|all-to-all|collective-permute)(?:-start)?\(", compiled.as_text() or ""
        )
        assert collectives == ["all-reduce"] * (2 * config.num_layers + 1)
