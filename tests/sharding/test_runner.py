"""ModelRunner: a row's result depends on the row alone; nothing is compiled after `compile`."""

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.batch import make_buckets
from sharding.runner import ModelRunner
from sharding.sampling import sample
from tests.sharding.small_models import LIMITS, LOCAL, dense_logits, host_parameters, make_runner, relative_error, row
from sharding.step import Row, SamplingParams

PROMPTS = [[int(t) for t in np.random.default_rng(seed).integers(0, LOCAL.vocab_size, 40)] for seed in range(4)]
EXPECTED = [dense_logits(LOCAL, host_parameters(LOCAL), prompt) for prompt in PROMPTS]
PAGES_PER_ROW = 5
ONE_ROW = replace(LIMITS, max_rows=1, max_step_tokens=16)


@pytest.fixture(scope="module")
def runner() -> ModelRunner:
    return make_runner(LOCAL)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_chunking_batching_and_page_layout_gives_the_dense_models_logits(runner, data: st.DataObject) -> None:
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
        for index, logits in zip(members, runner.logits(rows), strict=True):
            assert relative_error(logits, EXPECTED[index][done[index] - 1]) < 1e-5


def generate(runner: ModelRunner, prompts: list[list[int]], sampling: list[SamplingParams], steps: int) -> list:
    """Prompts of different lengths in one batch; the answers one by one."""
    pages = [list(range(8 * index, 8 * index + 8)) for index in range(len(prompts))]
    answers = [[] for _ in prompts]
    for index, prompt in enumerate(prompts):
        answers[index] += runner.step([row(prompt, 0, pages[index], sampling[index])])
    for step in range(steps):
        rows = [row([answers[i][-1].id], len(prompt) + step, pages[i], sampling[i]) for i, prompt in enumerate(prompts)]
        for answer, token in zip(answers, runner.step(rows), strict=True):
            answer.append(token)
    return answers


def test_tokens_are_the_same_alone_and_in_a_batch(runner) -> None:
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


def test_log_probabilities_come_to_the_rows_that_ask(runner) -> None:
    sampling = [SamplingParams(logprobs=None), SamplingParams(logprobs=0), SamplingParams(logprobs=3), None]
    rows = [row(PROMPTS[i][:4], 0, [i], sampling[i]) for i in range(4)]
    plain, own, three, nothing = runner.step(rows)
    assert (plain.logprob, plain.top) == (None, ())
    assert own.logprob is not None and own.top == ()
    assert nothing is None
    exact = EXPECTED[2][3] - np.log(np.exp(EXPECTED[2][3]).sum())
    assert [token for token, _ in three.top] == np.argsort(-exact)[:3].tolist()
    np.testing.assert_allclose([p for _, p in three.top], np.sort(exact)[::-1][:3], atol=1e-4)
    assert (three.id, three.logprob) == three.top[0]


def test_a_step_without_sampling_fills_the_cache(runner) -> None:
    assert runner.step([row(PROMPTS[0][:20], 0, [0, 1, 2], None)]) == [None]
    (logits,) = runner.logits([row(PROMPTS[0][20:21], 20, [0, 1, 2])])
    assert relative_error(logits, EXPECTED[0][20]) < 1e-5


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=LIMITS.max_rows), st.integers(0, 1), st.booleans())
def test_no_plan_compiles_anything(runner, lengths: list[int], temperature: int, logprobs: bool) -> None:
    sampling = SamplingParams(temperature=temperature, logprobs=2 if logprobs else None)
    rows = [row(PROMPTS[i][:length], 0, [3 * i, 3 * i + 1, 3 * i + 2], sampling) for i, length in enumerate(lengths)]
    if sum(lengths) > LIMITS.max_step_tokens:
        with pytest.raises(ValueError, match="at most 32 tokens"):
            runner.step(rows)
    else:
        assert all(0 <= token.id < LOCAL.vocab_size for token in runner.step(rows))
    assert runner.recompilations == 0


def test_a_compilation_in_a_step_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make_runner(LOCAL, limits=ONE_ROW)
    uncompiled = jax.jit(lambda logits, draw: sample(logits, draw, 2))
    monkeypatch.setattr(runner, "recompilations", 0)
    monkeypatch.setitem(runner.steps.samplers, 1, uncompiled)
    for _ in range(2):
        runner.step([row(PROMPTS[0][:3], 0, [0])])
        assert runner.recompilations == 1


def test_too_many_rows_are_refused(runner) -> None:
    rows = [Row(token_ids=[1], start=0, pages=[i], sampling=None) for i in range(5)]
    with pytest.raises(ValueError, match=r"rows: 5 rows with 5 tokens.*1 to 4 rows"):
        runner.step(rows)
    with pytest.raises(ValueError, match="rows: 0 rows"):
        runner.step([])


def test_weights_that_are_not_numbers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make_runner(LOCAL, limits=ONE_ROW)
    broken = {"final_norm": runner._parameters["final_norm"] * np.nan}
    monkeypatch.setattr(runner, "_parameters", runner._parameters | broken)
    with pytest.raises(FloatingPointError, match="check the checkpoint"):
        runner.step([row([1], 0, [0])])


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(16, 5000))
def test_buckets_hold_every_step_within_the_limits(max_rows: int, max_step_tokens: int) -> None:
    buckets = make_buckets(max_rows, max_step_tokens, max_pages=4)
    decode = [bucket for bucket in buckets if bucket.tokens == bucket.rows]
    mixed = [bucket for bucket in buckets if bucket.tokens != bucket.rows]
    assert decode[-1].rows == max_rows
    assert mixed[-1].tokens >= max_step_tokens
    assert all(bucket.rows == max_rows < bucket.tokens for bucket in mixed)
    for smaller, larger in [*pairwise(decode), *pairwise(mixed)]:
        assert smaller.tokens < larger.tokens <= 2 * smaller.tokens


def test_a_packed_step_unpacks_to_the_same_values() -> None:
    (bucket,) = [bucket for bucket in make_buckets(4, 16, max_pages=3) if bucket.tokens == 16]
    sampling = SamplingParams(temperature=0.3, top_k=7, top_p=0.25, seed=2**32 - 1, logprobs=0)
    step = bucket.unpack(bucket.pack([row([4, 5], 6, [2, 1], sampling), row([9], 0, [0], None)]))
    assert step.token_ids.tolist() == [4, 5, 9] + [0] * 13
    assert step.ragged.page_table.tolist()[:2] == [[2, 1, 0], [0, 0, 0]]
    assert step.ragged.kv_lens.tolist() == step.draw.positions.tolist() == [8, 1, 0, 0]
    assert step.ragged.cu_q_lens.tolist() == [0, 2, 3, 3, 3]
    assert step.ragged.positions(16)[:3].tolist() == [6, 7, 0]
    assert step.draw.temperature[0] == np.float32(0.3)
    assert [x[0].item() for x in (step.draw.top_k, step.draw.top_p, step.draw.seed)] == [7, 0.25, 2**32 - 1]
    assert step.draw.wants_logprobs.tolist() == [1, 0, 0, 0]


def test_limits_of_one_row_work() -> None:
    (first,) = make_runner(LOCAL, limits=ONE_ROW).step([row(PROMPTS[0][:16], 0, [0, 1])])
    assert first.id == int(EXPECTED[0][15].argmax())
