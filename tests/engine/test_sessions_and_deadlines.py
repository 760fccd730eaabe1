"""The newest keystroke wins, and what cannot be in time is refused."""

import math

import pytest
from msgspec.structs import replace

from serving.engine.engine import DeadlineUnreachable, Engine, QueueFull
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from tests.engine.simulated import (
    FakeClock,
    Receiver,
    SimulatedRunner,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)

STEP_S = 0.5


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def runner(clock: FakeClock) -> SimulatedRunner:
    runner = SimulatedRunner(limits_of(max_rows=2, max_step_tokens=8))

    def take_time() -> None:
        clock.now += STEP_S

    runner.before_step = take_time
    return runner


@pytest.fixture
def wall_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(runner: SimulatedRunner, clock: FakeClock, wall_clock: FakeClock) -> Engine:
    return Engine(runner, clock=clock, wall_clock=wall_clock, max_queue=4, lead_s=math.inf)


def keystroke(request_id: str, sent_at: float | None = None, prompt_length: int = 3) -> GenerationRequest:
    return request_of(
        request_id,
        range(prompt_length),
        priority=Priority.URGENT,
        session_id="editor",
        sent_at=sent_at,
        max_tokens=20,
    )


SUPERSEDED = GenerationChunk(finish_reason=FinishReason.SUPERSEDED)


@pytest.mark.parametrize(("phase", "steps"), [("submitted", 0), ("queued", 1), ("prefill", 1), ("decode", 3)])
def test_a_newer_request_of_the_session_ends_the_older_one_at_the_next_step_boundary(
    engine: Engine, phase: str, steps: int
) -> None:
    if phase == "queued":
        for name in "xy":
            submit(engine, request_of(name, priority=Priority.URGENT, max_tokens=20))
    older = submit(engine, keystroke("older", 1, prompt_length=20 if phase == "prefill" else 3))
    for _ in range(steps):
        engine.step()
    assert bool(older.chunks) == (phase == "decode")
    newer = submit(engine, keystroke("newer", 2))
    assert not older.finished, "chunks come from the stepping thread"
    engine.step()
    assert older.finish_reason is FinishReason.SUPERSEDED
    assert engine.stats().superseded == 1
    run_until_idle(engine)
    assert newer.finish_reason is FinishReason.LENGTH
    stats = engine.stats()
    assert (stats.queued, stats.running, stats.free_pages) == (0, 0, stats.total_pages)


def test_a_request_that_arrives_after_a_newer_one_of_its_session_ends_itself(
    engine: Engine, runner: SimulatedRunner
) -> None:
    newer = submit(engine, keystroke("newer", 2))
    older = submit(engine, keystroke("older", 1))
    run_until_idle(engine)
    assert older.chunks == [SUPERSEDED]
    assert newer.finish_reason is FinishReason.LENGTH
    assert all(len(rows) == 1 for rows in runner.steps), "nothing of the older one is computed"


def test_the_choices_of_one_request_live_together_and_end_together(engine: Engine) -> None:
    choices = [submit(engine, keystroke(f"choice {i}", 1)) for i in range(2)]
    engine.step()
    assert [len(choice.token_ids) for choice in choices] == [1, 1]
    submit(engine, keystroke("newer", 2))
    engine.step()
    assert {choice.finish_reason for choice in choices} == {FinishReason.SUPERSEDED}


def test_a_request_without_a_time_was_sent_when_it_arrives(engine: Engine, wall_clock: FakeClock) -> None:
    before = submit(engine, keystroke("before", wall_clock.now - 1))
    without = submit(engine, keystroke("without"))
    wall_clock.now += 1
    engine.step()
    assert before.chunks == [SUPERSEDED]
    submit(engine, keystroke("after", wall_clock.now))
    engine.step()
    assert without.finish_reason is FinishReason.SUPERSEDED


@pytest.mark.parametrize("names", [("first", "again"), ("again", "first")])
def test_what_a_client_sends_again_is_older_than_all_that_it_sends_for_the_first_time(
    engine: Engine, names: tuple[str, str]
) -> None:
    requests = {"first": keystroke("first", 1), "again": replace(keystroke("again", 2), repeated=True)}
    received = {name: submit(engine, requests[name]) for name in names}
    run_until_idle(engine)
    assert received["again"].finish_reason is FinishReason.SUPERSEDED
    assert received["first"].finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    ("priority", "session_id"), [(Priority.NORMAL, "editor"), (Priority.URGENT, "other"), (Priority.URGENT, "")]
)
def test_only_urgent_requests_of_the_same_session_supersede_each_other(
    engine: Engine, priority: Priority, session_id: str
) -> None:
    ours = submit(engine, keystroke("ours", 1))
    for i in range(2):
        request = request_of(f"r{i}", priority=priority, session_id=session_id if session_id == "editor" else "")
        submit(engine, request)
    submit(engine, request_of("theirs", priority=priority, session_id=session_id, sent_at=2))
    run_until_idle(engine)
    assert ours.finish_reason is FinishReason.LENGTH
    assert engine.stats().superseded == 0


def test_in_a_full_queue_a_newer_keystroke_takes_the_place_of_the_older_one(engine: Engine) -> None:
    submit(engine, keystroke("older", 1))
    for i in range(5):
        submit(engine, request_of(f"r{i}"))
    with pytest.raises(QueueFull):
        submit(engine, request_of("another"))
    newer = submit(engine, keystroke("newer", 2))
    run_until_idle(engine)
    assert newer.finish_reason is FinishReason.LENGTH


def measured(engine: Engine) -> Engine:
    """The engine after enough steps to know what one takes."""
    submit(engine, request_of("warm up", max_tokens=6))
    run_until_idle(engine)
    assert engine.stats().step_seconds == STEP_S
    return engine


def urgent(request_id: str, prompt_length: int, timeout_s: float | None = None) -> GenerationRequest:
    prompt = [int(request_id)] * prompt_length
    return request_of(request_id, prompt, priority=Priority.URGENT, timeout_s=timeout_s, max_tokens=1)


def test_a_request_that_the_prompts_ahead_would_make_late_is_refused_with_the_numbers(engine: Engine) -> None:
    measured(engine)
    submit(engine, urgent("0", 24, timeout_s=1.8))
    message = r"expected in 2 s, but of timeout_s=1.9 only 1.9 s are left"  # 24 + 8 tokens, 8 in each step of 0.5 s
    with pytest.raises(DeadlineUnreachable, match=message):
        submit(engine, urgent("1", 8, timeout_s=1.9))
    stats = engine.stats()
    assert (stats.refused_for_deadline, stats.queued) == (1, 1)


def test_a_request_that_the_estimate_lets_in_is_in_time_and_one_step_less_is_refused(engine: Engine) -> None:
    measured(engine)
    submit(engine, urgent("0", 24, timeout_s=1.8))
    with pytest.raises(DeadlineUnreachable):
        submit(engine, urgent("1", 9, timeout_s=2))
    in_time = submit(engine, request_of("2", [2] * 8, priority=Priority.URGENT, timeout_s=2.1))
    for _ in range(4):
        engine.step()
    assert len(in_time.token_ids) == 1


def test_the_estimate_counts_what_of_a_running_prompt_is_left(engine: Engine) -> None:
    measured(engine)
    submit(engine, urgent("0", 24))
    engine.step()
    engine.step()
    submit(engine, urgent("1", 8, timeout_s=1))


def test_the_estimate_counts_only_what_goes_first(engine: Engine) -> None:
    measured(engine)
    submit(engine, request_of("normal", [9] * 60))
    submit(engine, urgent("0", 60, timeout_s=99))
    submit(engine, urgent("1", 8, timeout_s=1))
    submit(engine, request_of("aborted", [8] * 8, priority=Priority.URGENT, timeout_s=0.7))
    engine.abort("aborted")
    submit(engine, urgent("2", 8, timeout_s=0.8))
    with pytest.raises(DeadlineUnreachable):
        submit(engine, urgent("3", 8, timeout_s=0.9))


def test_a_normal_request_waits_for_urgent_ones_too(engine: Engine) -> None:
    measured(engine)
    submit(engine, urgent("0", 24))
    with pytest.raises(DeadlineUnreachable):
        submit(engine, request_of("normal", [9] * 8, timeout_s=1.9))


def test_with_nothing_ahead_or_nothing_measured_only_a_deadline_that_has_passed_is_refused(
    engine: Engine, wall_clock: FakeClock
) -> None:
    submit(engine, urgent("0", 24))
    submit(engine, urgent("1", 24, timeout_s=0.01))
    run_until_idle(engine)
    measured(engine)
    submit(engine, urgent("2", 60, timeout_s=0.01))
    late = request_of("late", timeout_s=3, sent_at=wall_clock.now - 3)
    with pytest.raises(DeadlineUnreachable, match="of timeout_s=3 only 0 s are left"):
        submit(engine, late)


def test_a_deadline_counts_from_the_time_of_sending(engine: Engine, clock: FakeClock, wall_clock: FakeClock) -> None:
    receiver = submit(engine, request_of("a", timeout_s=5, sent_at=wall_clock.now - 4))
    clock.now += 1
    engine.step()
    assert receiver.chunks == [GenerationChunk(finish_reason=FinishReason.DEADLINE)]


def test_a_sender_whose_clock_is_ahead_gains_no_time(engine: Engine, clock: FakeClock, wall_clock: FakeClock) -> None:
    receiver: Receiver = submit(engine, request_of("a", timeout_s=5, sent_at=wall_clock.now + 100))
    clock.now += 5
    engine.step()
    assert receiver.finish_reason is FinishReason.DEADLINE
