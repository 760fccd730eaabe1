"""A step that hangs is seen from outside, and its engine can be taken out of service from there."""

import math
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.engine import Engine, EngineUnavailable
from serving.engine.loop import EngineThread
from serving.engine.request import FinishReason, GenerationChunk
from tests.engine.simulated import (
    TIMEOUT_S,
    Awaited,
    FakeClock,
    Gate,
    SimulatedRunner,
    expected_tokens,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)

HUNG = TimeoutError("the step hangs")


@pytest.fixture
def runner() -> SimulatedRunner:
    return SimulatedRunner(limits_of(num_pages=256, max_context=512))


def test_the_time_of_the_step_in_progress_is_seen_from_any_thread(runner: SimulatedRunner) -> None:
    clock = FakeClock()
    engine = Engine(runner, clock=clock, max_queue=0, lead_s=math.inf)
    gate = Gate(runner)
    engine.submit(request_of("a", max_tokens=1), receiver := Awaited())
    assert engine.step_running_s() == 0
    thread = EngineThread(engine)
    thread.start()
    assert gate.reached.wait(TIMEOUT_S)
    clock.now += 7
    assert engine.step_running_s() == 7
    gate.open.set()
    assert receiver.last.wait(TIMEOUT_S)
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert engine.step_running_s() == 0


@pytest.mark.parametrize("raises", [False, True])
def test_failing_a_stuck_engine_ends_every_request_from_the_calling_thread_and_discards_the_step(
    runner: SimulatedRunner, raises: bool
) -> None:
    engine = Engine(runner, max_queue=10, loop_s=0)
    gate = Gate(runner)
    stuck = runner.before_step

    def before_step() -> None:
        stuck()
        if raises:
            raise ConnectionError("the device is gone")

    runner.before_step = before_step
    threads: list[int] = []
    receivers = [Awaited() for _ in range(6)]  # two more than there are rows
    for i, receiver in enumerate(receivers):

        def deliver(chunk: GenerationChunk, receiver: Awaited = receiver) -> None:
            threads.append(threading.get_ident())
            receiver(chunk)

        engine.submit(request_of(f"r{i}"), deliver)
    thread = EngineThread(engine)
    thread.start()
    assert gate.reached.wait(TIMEOUT_S)
    engine.abort("r0")
    engine.submit(request_of("during the step"), late := Awaited())
    engine.fail(HUNG)
    ended = [list(receiver.chunks) for receiver in (*receivers, late)]
    assert all([chunk.finish_reason for chunk in chunks] == [FinishReason.ERROR] for chunks in ended)
    assert set(threads) == {threading.get_ident()}
    assert engine.failure is HUNG
    with pytest.raises(EngineUnavailable):
        engine.submit(request_of("later"), Awaited())
    gate.open.set()
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert [list(receiver.chunks) for receiver in (*receivers, late)] == ended
    assert engine.failure is HUNG, "the first error is kept"
    stats = engine.stats()
    assert (stats.queued, stats.running, stats.free_pages, stats.generated_tokens) == (0, 0, stats.total_pages, 0)


def test_failing_an_engine_twice_or_idle_only_takes_it_out_of_service(runner: SimulatedRunner) -> None:
    engine = Engine(runner, max_queue=0, loop_s=0)
    engine.fail(HUNG)
    engine.fail(RuntimeError("another"))
    assert engine.failure is HUNG
    assert not engine.step()
    engine.close()
    assert not engine.wait_for_work()


@given(
    batch=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 6)), min_size=1, max_size=6),
    failing_step=st.integers(0, 8),
    aborted=st.sets(st.integers(0, 5)),
)
@settings(deadline=None, max_examples=80)
def test_a_failure_during_any_step_gives_each_request_one_last_chunk_after_the_tokens_it_has(
    batch: list[tuple[int, int]], failing_step: int, aborted: set[int]
) -> None:
    runner = SimulatedRunner(limits_of(num_pages=8))
    engine = Engine(runner, max_queue=len(batch), loop_s=0)
    requests = [request_of(f"r{i}", [i] * length, max_tokens=count) for i, (length, count) in enumerate(batch)]

    def before_step() -> None:
        if len(runner.steps) == failing_step:
            for i in aborted:
                engine.abort(f"r{i}")
            engine.fail(HUNG)

    runner.before_step = before_step
    receivers = [submit(engine, request) for request in requests]
    run_until_idle(engine)
    for request, receiver in zip(requests, receivers, strict=True):
        tokens, reason = expected_tokens(request, 32)
        assert [chunk.finish_reason is not None for chunk in receiver.chunks] == [False] * (
            len(receiver.chunks) - 1
        ) + [True]
        if receiver.finish_reason is FinishReason.ERROR:
            assert receiver.token_ids == tokens[: len(receiver.token_ids)]
        else:
            assert (receiver.token_ids, receiver.finish_reason) == (tokens, reason)


def test_a_failure_while_a_chunk_is_delivered_comes_after_it(runner: SimulatedRunner) -> None:
    engine = Engine(runner, max_queue=0, loop_s=0)
    order: list[str] = []
    failing = threading.Thread(target=engine.fail, args=(HUNG,))

    def other(chunk: GenerationChunk) -> None:
        order.append(f"other {chunk.finish_reason}")

    def slow(chunk: GenerationChunk) -> None:
        if not failing.ident:
            failing.start()  # it cannot end before this delivery does
        order.append(f"slow {chunk.finish_reason}")

    engine.submit(request_of("slow"), slow)
    engine.submit(request_of("other"), other)
    engine.step()
    failing.join(TIMEOUT_S)
    assert order == ["slow None", "other None", "slow error", "other error"]


def test_threads_that_submit_abort_and_fail_at_once_leave_each_request_with_one_last_chunk(
    runner: SimulatedRunner,
) -> None:
    engine = Engine(runner, max_queue=1000, loop_s=0)
    thread = EngineThread(engine)
    thread.start()
    chunks: dict[str, list[GenerationChunk]] = {}
    half_way = threading.Barrier(5)

    def receiver_of(name: str) -> Callable[[GenerationChunk], None]:
        return chunks.setdefault(name, []).append

    def client(number: int) -> None:
        for i in range(40):
            if i == 20:
                half_way.wait(TIMEOUT_S)
            name = f"{number}/{i}"
            try:
                engine.submit(request_of(name, max_tokens=30), receiver_of(name))
            except EngineUnavailable:
                del chunks[name]
            if i % 3 == 0:
                engine.abort(name)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for each in clients:
        each.start()
    half_way.wait(TIMEOUT_S)
    engine.fail(HUNG)
    for each in clients:
        each.join(TIMEOUT_S)
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert len(chunks) >= 80
    for received in chunks.values():
        assert [chunk.finish_reason is not None for chunk in received].count(True) == 1
        assert received[-1].finish_reason is not None
