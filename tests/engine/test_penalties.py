"""Penalties and biases count the same tokens, however the engine cuts, moves and repeats a sequence's work."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from serving.engine.engine import LOOP_S, Engine
from serving.engine.request import GenerationRequest
from sharding.step import Limits, SamplingParams
from tests.engine.simulated import Receiver, run_until_idle, submit
from tests.sharding.small_models import LIMITS, LOCAL, dense_logits, host_parameters, make_runner
from tests.sharding.test_adjustment import oracle_logits

TIGHT = replace(LIMITS, num_pages=12)
"""Pages for one sequence of the greatest length, and half of another."""
TOKENS = 24
PROMPT = [int(token) for token in np.random.default_rng(11).integers(0, LOCAL.vocab_size, 20)]
PROMPTS = [PROMPT + [token] * 3 for token in range(2)] + [PROMPT[:5], PROMPT]
SAMPLING = [
    SamplingParams(presence_penalty=1.0, frequency_penalty=0.5),
    SamplingParams(repetition_penalty=1.4, logit_bias=((PROMPT[0], 2.0), (7, -math.inf))),
    SamplingParams(repetition_penalty=1.2, presence_penalty=-0.4, penalty_window=6),
    SamplingParams(frequency_penalty=-0.6, logprobs=2),
]
DRAWN = SamplingParams(temperature=0.9, min_p=0.02, seed=5, repetition_penalty=1.3, frequency_penalty=0.2)


@cache
def expected(index: int) -> list[int]:
    """What greedy decoding of the dense model gives, with the penalties of plain Python."""
    token_ids = list(PROMPTS[index])
    for _ in range(TOKENS):
        logits = dense_logits(LOCAL, host_parameters(LOCAL), token_ids)[-1].astype(np.float32)
        token_ids.append(int(np.argmax(oracle_logits(logits, (SAMPLING[index], token_ids, len(PROMPTS[index]))))))
    return token_ids[len(PROMPTS[index]) :]


def generated(
    limits: Limits, devices: int, sampling: Sequence[SamplingParams], *, loop_s: float, scores_prompts: bool = False
) -> list[Receiver]:
    """What an engine of its own makes of all requests at once, and then of all of them again."""
    engine = Engine(make_runner(LOCAL, devices, limits), max_queue=16, loop_s=loop_s, lead_s=math.inf)
    receivers = []
    for repetition in range(2):
        receivers += [
            submit(
                engine,
                GenerationRequest(
                    request_id=f"{repetition}-{index}",
                    prompt_ids=tuple(PROMPTS[index]),
                    max_tokens=TOKENS,
                    sampling=msgspec.structs.replace(each, logprobs=0) if scores_prompts else each,
                    scores_prompt=scores_prompts,
                ),
            )
            for index, each in enumerate(sampling)
        ]
        run_until_idle(engine)
    if not scores_prompts:
        assert sum(receiver.cached_tokens for receiver in receivers), "the prefix cache had something"
    if limits is TIGHT:
        assert engine.stats().preemptions, "sequences lost their pages"
    return receivers


@pytest.mark.parametrize(("limits", "devices"), [(LIMITS, 1), (TIGHT, 1), (TIGHT, 2)])
@pytest.mark.parametrize("loop_s", [0.0, 60.0], ids=["steps", "loops"])
def test_greedy_tokens_are_those_of_plain_python(limits: Limits, devices: int, loop_s: float) -> None:
    for number, receiver in enumerate(generated(limits, devices, SAMPLING, loop_s=loop_s)):
        assert receiver.token_ids == expected(number % len(SAMPLING))


@pytest.mark.parametrize(("limits", "devices"), [(LIMITS, 1), (TIGHT, 2)])
def test_prompts_that_are_scored_change_no_token_behind_them(limits: Limits, devices: int) -> None:
    receivers = generated(limits, devices, SAMPLING, loop_s=LOOP_S, scores_prompts=True)
    for number, receiver in enumerate(receivers):
        index = number % len(SAMPLING)
        assert receiver.token_ids == PROMPTS[index][1:] + expected(index)
        logits = dense_logits(LOCAL, host_parameters(LOCAL), PROMPTS[index] + expected(index))[:-1]
        exact = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        places = range(len(receiver.tokens))
        assert [token.logprob for token in receiver.tokens] == pytest.approx(
            exact[places, receiver.token_ids], abs=1e-4
        )


def test_draws_are_the_same_whatever_happens() -> None:
    calm = generated(LIMITS, 1, [DRAWN] * 4, loop_s=LOOP_S)
    for limits, devices in ((TIGHT, 1), (TIGHT, 2)):
        hurried = generated(limits, devices, [DRAWN] * 4, loop_s=LOOP_S)
        assert [each.token_ids for each in hurried] == [each.token_ids for each in calm]


def test_the_penalties_of_one_are_not_those_of_the_next_in_its_slot() -> None:
    plain = generated(LIMITS, 1, [SamplingParams()] * 4, loop_s=LOOP_S)
    generated(LIMITS, 1, SAMPLING, loop_s=LOOP_S)
    assert [each.token_ids for each in generated(LIMITS, 1, [SamplingParams()] * 4, loop_s=LOOP_S)] == [
        each.token_ids for each in plain
    ]
