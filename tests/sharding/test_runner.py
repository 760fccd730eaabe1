"""ModelRunner: a row's result depends on the row alone; nothing is compiled after `compile`."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields

from sharding import programs
from sharding.batch import Bucket
from sharding.runner import ModelRunner
from sharding.slots import NO_TOKEN, Slots
from sharding.step import MAX_DRAWS, Opening, Row, SamplingParams, Token
from tests.sharding.small_models import (
    LIMITS,
    LOCAL,
    dense_logits,
    host_parameters,
    in_slots,
    make_runner,
    relative_error,
    row,
    step,
)

PROMPTS = [[int(t) for t in np.random.default_rng(seed).integers(0, LOCAL.vocab_size, 40)] for seed in range(4)]
EXPECTED = [dense_logits(LOCAL, host_parameters(LOCAL), prompt) for prompt in PROMPTS]
PAGES_PER_ROW = 5
ONE_ROW = replace(LIMITS, max_rows=1, max_step_tokens=16)


@pytest.fixture(scope="module")
def runner() -> ModelRunner:
    return make_runner(LOCAL)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_chunking_batching_and_page_layout_gives_the_dense_models_logits(
    runner: ModelRunner, data: st.DataObject
) -> None:
    pages = np.array(data.draw(st.permutations(range(LIMITS.num_pages)))).tolist()
    done = [0] * data.draw(st.integers(1, LIMITS.max_rows))
    while any(count < len(PROMPTS[index]) for index, count in enumerate(done)):
        order = data.draw(st.permutations(range(len(done))))
        left, rows, members = LIMITS.max_step_tokens, [], []
        for index in order:
            most = min(left, len(PROMPTS[index]) - done[index])
            if most == 0:
                continue
            size = data.draw(st.one_of(st.just(1), st.integers(1, most)))
            chunk = PROMPTS[index][done[index] : done[index] + size]
            rows.append(row(chunk, done[index], pages[index * PAGES_PER_ROW :][: -(-(done[index] + size) // 8)]))
            members.append(index)
            done[index] += size
            left -= size
        for index, logits in zip(members, runner.logits(in_slots(rows)), strict=True):
            assert relative_error(logits, EXPECTED[index][done[index] - 1]) < 1e-5


def some(token: Token | None) -> Token:
    assert token is not None
    return token


def drawn(runner: ModelRunner, rows: list[Row]) -> list[Token]:
    """One step of rows that all draw."""
    return [some(token) for token in step(runner, rows)]


def generate(
    runner: ModelRunner, prompts: list[list[int]], sampling: list[SamplingParams], steps: int
) -> list[list[Token]]:
    """Prompts of different lengths in one batch; the answers one by one."""
    pages = [list(range(8 * index, 8 * index + 8)) for index in range(len(prompts))]
    answers: list[list[Token]] = [[] for _ in prompts]
    for index, prompt in enumerate(prompts):
        answers[index] += drawn(runner, [row(prompt, 0, pages[index], sampling[index])])
    for done in range(steps):
        rows = [row([answers[i][-1].id], len(prompt) + done, pages[i], sampling[i]) for i, prompt in enumerate(prompts)]
        for answer, token in zip(answers, drawn(runner, rows), strict=True):
            answer.append(token)
    return answers


def test_tokens_are_the_same_alone_and_in_a_batch(runner: ModelRunner) -> None:
    prompts = [PROMPTS[index][: 5 + 7 * index] for index in range(4)]
    sampling = [
        SamplingParams(logprobs=3),
        SamplingParams(temperature=1.0, seed=5),
        SamplingParams(temperature=0.8, top_k=20, top_p=0.9, seed=2**32 - 1),
        SamplingParams(),
    ]
    together = generate(runner, prompts, sampling, steps=8)
    for index in range(4):
        (alone,) = generate(runner, prompts[index : index + 1], sampling[index : index + 1], steps=8)
        assert [token.id for token in together[index]] == [token.id for token in alone]


def test_log_probabilities_come_to_the_rows_that_ask(runner: ModelRunner) -> None:
    sampling = [SamplingParams(logprobs=None), SamplingParams(logprobs=0), SamplingParams(logprobs=3), None]
    rows = [row(PROMPTS[i][:4], 0, [i], sampling[i]) for i in range(4)]
    *tokens, nothing = step(runner, rows)
    plain, own, three = map(some, tokens)
    assert (plain.logprob, plain.top) == (None, ())
    assert own.logprob is not None and own.top == ()
    assert nothing is None
    exact = EXPECTED[2][3] - np.log(np.exp(EXPECTED[2][3]).sum())
    assert [token for token, _ in three.top] == np.argsort(-exact)[:3].tolist()
    np.testing.assert_allclose([p for _, p in three.top], np.sort(exact)[::-1][:3], atol=1e-4)
    assert (three.id, three.logprob) == three.top[0]


def test_a_step_without_sampling_fills_the_cache(runner: ModelRunner) -> None:
    assert step(runner, [row(PROMPTS[0][:20], 0, [0, 1, 2], None)]) == [None]
    (logits,) = runner.logits([row(PROMPTS[0][20:21], 20, [0, 1, 2])])
    assert relative_error(logits, EXPECTED[0][20]) < 1e-5


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=LIMITS.max_rows), st.integers(0, 1), st.booleans())
def test_no_plan_compiles_anything(runner: ModelRunner, lengths: list[int], temperature: int, logprobs: bool) -> None:
    sampling = SamplingParams(temperature=temperature, logprobs=2 if logprobs else None)
    rows = [row(PROMPTS[i][:length], 0, [3 * i, 3 * i + 1, 3 * i + 2], sampling) for i, length in enumerate(lengths)]
    if sum(lengths) > LIMITS.max_step_tokens:
        with pytest.raises(ValueError, match="at most 32 tokens"):
            step(runner, rows)
    else:
        assert all(0 <= token.id < LOCAL.vocab_size for token in drawn(runner, rows))
    assert runner.recompilations == 0


def test_a_compilation_in_a_step_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make_runner(LOCAL, limits=ONE_ROW)
    (bucket,) = [bucket for bucket in runner.steps.by_bucket if bucket.tokens == 16]
    monkeypatch.setattr(runner, "recompilations", 0)
    compiled_when_called: Any = jax.jit(partial(programs.draw, bucket))
    monkeypatch.setattr(runner, "steps", replace(runner.steps, sampler=compiled_when_called))
    for _ in range(2):
        step(runner, [row(PROMPTS[0][:3], 0, [0])])
        assert runner.recompilations == 1


def test_too_many_rows_are_refused(runner: ModelRunner) -> None:
    rows = [row([1], 0, [i]) for i in range(5)]
    with pytest.raises(ValueError, match=r"rows: 5 rows with 5 tokens.*1 to 4 rows"):
        step(runner, rows)
    with pytest.raises(ValueError, match="rows: 0 rows"):
        step(runner, [])


def test_weights_that_are_not_numbers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make_runner(LOCAL, limits=ONE_ROW)
    broken = jax.tree.map(lambda value: value * np.nan, runner._parameters)
    monkeypatch.setattr(runner, "_parameters", broken)
    with pytest.raises(FloatingPointError, match="check the checkpoint"):
        step(runner, [row([1], 0, [0])])


def test_a_packed_step_unpacks_to_the_same_values() -> None:
    bucket = Bucket(tokens=16, rows=4, pages=8)
    sampling = SamplingParams(temperature=0.3, top_k=7, top_p=0.25, seed=2**32 - 1, logprobs=0, min_p=0.5)
    sampling = replace_fields(sampling, presence_penalty=0.5, penalty_window=2**31 - 1, logit_bias=((3, 1.5),))
    opening = Opening(sampling=sampling, stop_ids=[5, 9], token_ids=[1, 2, 3, 4, 5, 6, 4, 5], prompt_tokens=8)
    rows = [
        Row(slot=3, start=6, token_ids=[4, 5], draws=1, pages=[2, 1], opening=opening),
        Row(slot=1, start=0, token_ids=[9], pages=[7], opening=Opening()),
    ]
    slots = Slots(LIMITS)
    [opened] = slots.update(rows)
    assert (int(opened.slot), opened.token_ids.tolist()) == (
        3,
        [1, 2, 3, 4, 5, 6, 4, 5] + [0] * (LIMITS.max_context - 8),
    )
    assert (opened.bias_ids[0], opened.biases[0]) == (3, 1.5)
    rows.append(Row(slot=11, start=8, draws=1))
    newest = jnp.arange(100, 100 + LIMITS.slots)
    tokens = bucket.unpack_tokens(jnp.asarray(bucket.pack_tokens(rows, slots)), newest)
    assert tokens.token_ids.tolist() == [4, 5, 9, 111] + [0] * 12
    assert tokens.drawn.tolist() == [False] * 3 + [True] + [False] * 12
    assert tokens.ragged.page_table.tolist()[:2] == [[2, 1] + [0] * 6, [7] + [0] * 7]
    assert tokens.ragged.kv_lens.tolist() == [8, 1, 9, 0]
    assert tokens.ragged.cu_q_lens.tolist() == [0, 2, 3, 4, 4]
    assert tokens.ragged.positions(16)[:4].tolist() == [6, 7, 0, 8]
    draws = bucket.unpack_draws(jnp.asarray(bucket.pack_draws(rows, slots)))
    assert draws.draw.slots.tolist() == [3, LIMITS.slots, 11, LIMITS.slots]
    assert draws.counts.tolist() == [1, 0, 1, 0]
    assert draws.draw.positions.tolist() == [8, 1, 9, 0]
    assert draws.draw.temperature[0] == np.float32(0.3)
    assert [x[0].item() for x in (draws.draw.top_k, draws.draw.top_p, draws.draw.seed)] == [7, 0.25, 2**32 - 1]
    assert draws.draw.wants_logprobs.tolist() == [1, 0, 0, 0]
    assert draws.draw.has_penalties.tolist() == [1, 0, 0, 0]
    penalties = (draws.draw.presence_penalty, draws.draw.penalty_window, draws.draw.prompt_tokens)
    assert [x[0].item() for x in penalties] == [0.5, LIMITS.max_context, 8]
    assert [x[0].item() for x in (draws.draw.min_p, draws.draw.num_biases)] == [0.5, 1]
    assert draws.stop_ids[0].tolist() == [5, 9] + [NO_TOKEN] * 6


@pytest.mark.parametrize("max_draws", [1, 2, MAX_DRAWS])
def test_loops_draw_what_single_steps_draw(runner: ModelRunner, max_draws: int) -> None:
    sampling = [SamplingParams(logprobs=2), SamplingParams(temperature=1.0, seed=5), SamplingParams(logprobs=0)]
    prompts = [PROMPTS[index][: 5 + 4 * index] for index in range(3)]
    expected = generate(runner, prompts, sampling, steps=19)
    for launched_ahead in (True, False):
        answers = looped(runner, prompts, sampling, max_draws, launched_ahead=launched_ahead)
        for answer, alone in zip(answers, expected, strict=True):
            assert [token.id for token in answer] == [token.id for token in alone]
            assert [len(token.top) for token in answer] == [len(token.top) for token in alone]
            np.testing.assert_allclose(
                [token.logprob for token in answer if token.logprob is not None],
                [token.logprob for token in alone if token.logprob is not None],
                atol=1e-5,
            )


def looped(
    runner: ModelRunner,
    prompts: list[list[int]],
    sampling: list[SamplingParams],
    max_draws: int,
    *,
    launched_ahead: bool,
) -> list[list[Token]]:
    """20 tokens after each prompt, in loops; the last row draws one token in each of them."""
    pages = [list(range(8 * index, 8 * index + 8)) for index in range(len(prompts))]
    steps = [
        [
            Row(slot=i, start=0, token_ids=prompt, draws=1, pages=pages[i], opening=Opening(sampling=sampling[i]))
            for i, prompt in enumerate(prompts)
        ]
    ]
    left = [19] * len(prompts)
    while any(left):
        counts = [min(max_draws if i < 2 else 1, count) for i, count in enumerate(left)]
        starts = [len(prompt) + 19 - count for prompt, count in zip(prompts, left, strict=True)]
        steps.append([Row(slot=i, start=starts[i], draws=count) for i, count in enumerate(counts) if count])
        left = [count - drawn for count, drawn in zip(left, counts, strict=True)]
    answers: list[list[Token]] = [[] for _ in prompts]

    def land(rows: list[Row]) -> None:
        for each, tokens in zip(rows, runner.land(), strict=True):
            answers[each.slot] += tokens

    for number, rows in enumerate(steps):
        runner.launch(rows)
        if not launched_ahead:
            land(rows)
        elif number:
            land(steps[number - 1])
    if launched_ahead:
        land(steps[-1])
    return answers


def test_a_loop_ends_a_row_at_its_stop_id_and_goes_on_with_the_others(runner: ModelRunner) -> None:
    prompts = [PROMPTS[index][:9] for index in range(2)]
    sampling = [SamplingParams(temperature=1.0, seed=seed) for seed in range(2)]
    first, second = generate(runner, prompts, sampling, steps=9)
    stop = next(token.id for token in first[2:] if token.id not in {each.id for each in first[:2]})
    at = [token.id for token in first].index(stop)
    opening = [Opening(sampling=sampling[0], stop_ids=[stop]), Opening(sampling=sampling[1])]
    runner.launch(
        [
            Row(slot=i, start=0, token_ids=prompt, draws=1, pages=range(8 * i, 8 * i + 8), opening=opening[i])
            for i, prompt in enumerate(prompts)
        ]
    )
    runner.launch([Row(slot=i, start=9, draws=9) for i in range(2)])
    runner.launch([Row(slot=0, start=18, draws=9)])  # before anybody knows that it has ended
    drawn = [tokens for _ in range(2) for tokens in runner.land()]
    assert [token.id for token in drawn[0] + drawn[2]] == [token.id for token in first[: at + 1]]
    assert [token.id for token in drawn[1] + drawn[3]] == [token.id for token in second]
    assert runner.land() == [[]]


def test_a_step_that_draws_nothing_has_landed_when_the_device_is_done(runner: ModelRunner) -> None:
    runner.launch(in_slots([row(PROMPTS[0][:20], 0, [0, 1, 2], None)]))
    assert runner.land() == [[]]


def test_limits_of_one_row_work() -> None:
    (first,) = drawn(make_runner(LOCAL, limits=ONE_ROW), [row(PROMPTS[0][:16], 0, [0, 1])])
    assert first.id == int(EXPECTED[0][15].argmax())
