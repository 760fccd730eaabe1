"""Prompts that are scored: each token once and in order, whatever is cached, paused or preempted meanwhile."""

import pytest
from msgspec.structs import replace

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, Priority
from tests.engine.simulated import (
    VOCABULARY,
    FakeClock,
    Receiver,
    SimulatedRunner,
    expected_answer,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)

LIMITS = limits_of(page_size=4, num_pages=16, max_rows=4, max_step_tokens=16, max_context=64)
PROMPT = tuple(range(21))
SCORED = request_of("scored", PROMPT, max_tokens=1, scores_prompt=True)


@pytest.fixture
def runner() -> SimulatedRunner:
    return SimulatedRunner(LIMITS)


@pytest.fixture
def engine(runner: SimulatedRunner) -> Engine:
    return Engine(runner, max_queue=8, clock=FakeClock(), lead_s=float("inf"))


def assert_is_complete(receiver: Receiver) -> None:
    assert (receiver.tokens, receiver.finish_reason) == expected_answer(SCORED, LIMITS.max_context)


def test_alone_a_prompt_is_scored_at_as_many_tokens_as_a_step_has_rows(engine: Engine, runner: SimulatedRunner) -> None:
    receiver = submit(engine, SCORED)
    run_until_idle(engine)
    assert_is_complete(receiver)
    assert [[row.num_tokens for row in rows] for rows in runner.steps] == [[4]] * 5 + [[1]]


def test_each_step_sends_what_it_scored(engine: Engine) -> None:
    receiver = submit(engine, SCORED)
    run_until_idle(engine)
    assert [len(chunk.tokens) for chunk in receiver.chunks] == [4] * 5 + [1]


def test_what_is_cached_is_computed_and_scored_all_the_same(engine: Engine) -> None:
    submit(engine, request_of("before", PROMPT))
    run_until_idle(engine)
    receiver = submit(engine, SCORED)
    run_until_idle(engine)
    assert_is_complete(receiver)
    assert receiver.cached_tokens == 0
    again = submit(engine, request_of("after", PROMPT))
    run_until_idle(engine)
    assert again.cached_tokens == 20


def test_rows_that_draw_leave_a_scored_prompt_the_rows_that_nobody_has(engine: Engine, runner: SimulatedRunner) -> None:
    for name in ("a", "b"):
        submit(engine, request_of(name, max_tokens=30))
    engine.step()
    receiver = submit(engine, SCORED)
    engine.step()
    engine.step()
    assert sorted(row.num_tokens for row in runner.steps[-1]) == [1, 1, 2]
    run_until_idle(engine)
    assert_is_complete(receiver)


def test_a_completion_starts_in_the_next_step_beside_scored_prompts(engine: Engine, runner: SimulatedRunner) -> None:
    for number in range(4):
        submit(engine, request_of(f"scored {number}", PROMPT, scores_prompt=True))
    for _ in range(3):
        engine.step()
    completion = submit(engine, request_of("completion", (5, 6, 7), max_tokens=1, priority=Priority.URGENT))
    engine.step()
    engine.step()
    assert completion.finished
    run_until_idle(engine)


def test_scored_prompts_leave_others_the_tokens_of_a_step_that_they_do_not_take() -> None:
    runner = SimulatedRunner(limits_of(max_rows=4, max_step_tokens=8))
    engine = Engine(runner, max_queue=8, clock=FakeClock(), lead_s=float("inf"))
    scored = [submit(engine, request_of(f"scored {number}", PROMPT, scores_prompt=True)) for number in range(2)]
    engine.step()
    other = submit(engine, request_of("other", (5, 6, 7, 8, 9), max_tokens=1))
    for _ in range(3):
        engine.step()
    assert other.finished
    assert not any(receiver.finished for receiver in scored)
    run_until_idle(engine)


def test_a_prompt_that_comes_later_takes_no_output_that_is_left_from_one_that_is_scored() -> None:
    runner = SimulatedRunner(limits_of(max_rows=4, max_step_tokens=8))
    engine = Engine(runner, max_queue=8, clock=FakeClock(), lead_s=float("inf"))
    submit(engine, request_of("scored", PROMPT, scores_prompt=True))
    submit(engine, request_of("long", range(40)))
    engine.step()
    assert [row.num_tokens for row in runner.steps[0]] == [3, 4]
    run_until_idle(engine)


def test_what_was_scored_before_a_preemption_is_not_sent_again() -> None:
    runner = SimulatedRunner(limits_of(num_pages=8, max_rows=2))
    engine = Engine(runner, max_queue=8, clock=FakeClock(), lead_s=float("inf"))
    receiver = submit(engine, SCORED)
    for _ in range(4):
        engine.step()
    assert receiver.tokens
    submit(engine, request_of("urgent", range(4, 28), max_tokens=3, priority=Priority.URGENT))
    run_until_idle(engine)
    assert engine.stats().preemptions == 1
    assert_is_complete(receiver)


def test_the_stop_id_that_ends_a_request_for_log_probabilities_comes_with_its_own(engine: Engine) -> None:
    alone = request_of("scored", PROMPT, max_tokens=1, scores_prompt=True)
    (*_, drawn), _ = expected_answer(alone, LIMITS.max_context)
    request = request_of("stopped", PROMPT, scores_prompt=True, stop_ids=frozenset({drawn.id}))
    stopped = submit(engine, request)
    asked = submit(engine, replace(request, request_id="asked", scores_prompt=False))
    unscored = submit(engine, request_of("unscored", PROMPT, stop_ids=frozenset(range(VOCABULARY))))
    run_until_idle(engine)
    assert [token.id for token in stopped.tokens] == list(PROMPT[1:])
    assert (stopped.finish_reason, stopped.chunks[-1].end) == (FinishReason.STOP, drawn)
    assert (asked.tokens, asked.finish_reason, asked.chunks[-1].end) == ([], FinishReason.STOP, drawn)
    assert (unscored.finish_reason, unscored.chunks[-1].end) == (FinishReason.STOP, None)


def test_a_prompt_of_one_token_has_nothing_to_score(engine: Engine) -> None:
    receiver = submit(engine, request_of("one", (3,), max_tokens=2, scores_prompt=True))
    run_until_idle(engine)
    assert len(receiver.tokens) == 2
