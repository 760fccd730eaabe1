import threading

import pytest

from serving.engine.engine import Engine, EngineUnavailable
from serving.engine.loop import EngineThread
from serving.engine.request import FinishReason
from tests.engine.simulated import TIMEOUT_S, Awaited, Gate, SimulatedRunner, expected_tokens, limits_of, request_of


@pytest.fixture
def runner() -> SimulatedRunner:
    return SimulatedRunner(limits_of(num_pages=256, max_context=512))


@pytest.fixture
def engine(runner: SimulatedRunner) -> Engine:
    return Engine(runner, max_queue=1000, loop_s=0)


def submit(engine: Engine, request_id: str, max_tokens: int = 8) -> Awaited:
    receiver = Awaited()
    engine.submit(request_of(request_id, max_tokens=max_tokens), receiver)
    return receiver


def test_an_idle_thread_wakes_for_each_request(engine: Engine, runner: SimulatedRunner) -> None:
    thread = EngineThread(engine)
    thread.start()
    for i in range(3):
        receiver = submit(engine, f"r{i}")
        assert receiver.last.wait(TIMEOUT_S)
        assert receiver.finish_reason is FinishReason.LENGTH
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert len(runner.steps) == 3 * 8, "it takes no step without a request"


def test_stop_with_drain_finishes_what_is_in_flight(engine: Engine, runner: SimulatedRunner) -> None:
    gate = Gate(runner)
    receivers = [submit(engine, f"r{i}") for i in range(10)]
    thread = EngineThread(engine)
    thread.start()
    assert gate.reached.wait(TIMEOUT_S)
    gate.open.set()
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert {receiver.finish_reason for receiver in receivers} == {FinishReason.LENGTH}
    with pytest.raises(EngineUnavailable):
        submit(engine, "late")


def test_stop_with_drain_aborts_what_does_not_finish_in_time(engine: Engine, runner: SimulatedRunner) -> None:
    gate = Gate(runner)
    receiver = submit(engine, "a", max_tokens=500)
    thread = EngineThread(engine)
    thread.start()
    assert gate.reached.wait(TIMEOUT_S)
    with pytest.raises(TimeoutError, match="timeout_s=0 "):
        thread.stop(drain=True, timeout_s=0)
    gate.open.set()
    assert receiver.last.wait(TIMEOUT_S)
    assert (len(receiver.token_ids), receiver.finish_reason) == (1, FinishReason.ABORTED)


def test_stop_without_drain_aborts_at_once_and_every_request_gets_its_last_chunk(
    engine: Engine, runner: SimulatedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(runner)

    def abort_all_then_open_the_gate() -> None:
        Engine.abort_all(engine)
        gate.open.set()

    monkeypatch.setattr(engine, "abort_all", abort_all_then_open_the_gate)
    receivers = [submit(engine, f"r{i}", max_tokens=500) for i in range(10)]
    thread = EngineThread(engine)
    thread.start()
    assert gate.reached.wait(TIMEOUT_S)
    thread.stop(drain=False, timeout_s=TIMEOUT_S)
    assert {receiver.finish_reason for receiver in receivers} == {FinishReason.ABORTED}
    assert {len(receiver.token_ids) for receiver in receivers} == {0, 1}, "the step in progress was the last"
    assert engine.stats().free_pages == engine.stats().total_pages


def test_the_thread_of_a_failed_engine_stops_cleanly(engine: Engine, runner: SimulatedRunner) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    runner.before_step = fail
    thread = EngineThread(engine)
    thread.start()
    receiver = submit(engine, "a")
    assert receiver.last.wait(TIMEOUT_S)
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    assert receiver.finish_reason is FinishReason.ERROR


def test_requests_submitted_and_aborted_from_many_threads_each_get_one_last_chunk(engine: Engine) -> None:
    thread = EngineThread(engine)
    thread.start()
    receivers: dict[str, Awaited] = {}

    def client(number: int) -> None:
        for i in range(20):
            name = f"{number}/{i}"
            receivers[name] = submit(engine, name, max_tokens=6)
            if i % 4 == 1:
                receivers[name].first.wait(TIMEOUT_S)
            if i % 2:
                engine.abort(name)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(TIMEOUT_S)
    thread.stop(drain=True, timeout_s=TIMEOUT_S)
    tokens, _ = expected_tokens(request_of("any", max_tokens=6), 512)
    for name, receiver in receivers.items():
        aborted = receiver.finish_reason is FinishReason.ABORTED
        assert receiver.token_ids == tokens[: len(receiver.token_ids)]
        assert aborted or receiver.token_ids == tokens
        assert not aborted or int(name.split("/")[1]) % 2, "nobody aborted this one"
    stats = engine.stats()
    assert (stats.queued, stats.running, stats.free_pages) == (0, 0, stats.total_pages)
