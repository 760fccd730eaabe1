import math

import pytest

from serving.engine.engine import Engine, EngineUnavailable, QueueFull
from serving.engine.request import FinishReason, GenerationChunk
from sharding.step import Row, Token
from tests.engine.simulated import (
    FakeClock,
    Receiver,
    SimulatedRunner,
    expected_tokens,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def runner() -> SimulatedRunner:
    return SimulatedRunner(limits_of(page_size=4, num_pages=16, max_rows=2, max_step_tokens=8, max_context=64))


@pytest.fixture
def engine(runner: SimulatedRunner, clock: FakeClock) -> Engine:
    return Engine(runner, clock=clock, max_queue=3, loop_s=0, lead_s=math.inf)


def assert_nothing_in_use(engine: Engine) -> None:
    stats = engine.stats()
    assert (stats.queued, stats.running, stats.free_pages) == (0, 0, stats.total_pages)


def test_decodes_go_on_while_a_long_prompt_is_computed_in_chunks(engine: Engine, runner: SimulatedRunner) -> None:
    decoding = submit(engine, request_of("decoding", max_tokens=20))
    engine.step()
    submit(engine, request_of("long", range(20), max_tokens=1))
    for _ in range(4):
        engine.step()
    assert [sorted(row.num_tokens for row in rows) for rows in runner.steps[1:]] == [[1], [1, 7], [1, 7], [1, 6]]
    assert len(decoding.token_ids) == 5


def test_a_stop_id_ends_the_generation_and_is_not_emitted(engine: Engine) -> None:
    free = submit(engine, request_of("free", max_tokens=6))
    run_until_idle(engine)
    stop = free.token_ids[3]
    before = free.token_ids.index(stop)
    stopped = submit(engine, request_of("stopped", max_tokens=6, stop_ids=frozenset({stop})))
    run_until_idle(engine)
    assert stopped.token_ids == free.token_ids[:before]
    assert stopped.finish_reason is FinishReason.STOP
    assert stopped.chunks[-1].tokens == ()


def test_max_tokens_ends_the_generation_with_length_on_the_chunk_of_the_last_token(engine: Engine) -> None:
    receiver = submit(engine, request_of("a", max_tokens=3))
    run_until_idle(engine)
    assert [len(chunk.tokens) for chunk in receiver.chunks] == [1, 1, 1]
    assert receiver.finish_reason is FinishReason.LENGTH
    stats = engine.stats()
    assert (stats.steps, stats.generated_tokens) == (3, 3)


@pytest.mark.parametrize("num_pages", [4, 2])
def test_a_generation_ends_with_length_where_the_context_or_the_pool_ends(num_pages: int) -> None:
    limits = limits_of(page_size=4, num_pages=num_pages, max_context=10)
    engine = Engine(SimulatedRunner(limits), max_queue=0, loop_s=0)
    receiver = submit(engine, request_of("a", range(6), max_tokens=1000))
    run_until_idle(engine)
    assert len(receiver.token_ids) == min(10, num_pages * 4) - 6
    assert receiver.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    ("prompt_length", "max_tokens", "message"),
    [
        (64, 5, r"prompt_ids has 64 tokens and max_tokens is 5, .* at most 64 tokens.* send 1 to 63"),
        (0, 5, r"prompt_ids has 0 tokens"),
        (3, 0, r"max_tokens is 0; ask for at least 1"),
    ],
)
def test_a_request_that_can_never_run_is_refused_with_the_numbers(
    engine: Engine, prompt_length: int, max_tokens: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        submit(engine, request_of("a", range(prompt_length), max_tokens=max_tokens))
    assert_nothing_in_use(engine)


def test_a_request_id_in_flight_is_refused_and_can_be_used_again_afterwards(engine: Engine) -> None:
    submit(engine, request_of("a"))
    with pytest.raises(ValueError, match="request_id 'a' is in flight"):
        submit(engine, request_of("a"))
    run_until_idle(engine)
    again = submit(engine, request_of("a"))
    run_until_idle(engine)
    assert again.finish_reason is FinishReason.LENGTH


def test_a_full_queue_refuses_and_an_ended_request_makes_room(engine: Engine) -> None:
    for i in range(5):  # 2 rows and 3 places in the queue, taken before any step
        submit(engine, request_of(f"r{i}"))
    with pytest.raises(QueueFull, match="all 5 places, running and queued, are taken"):
        submit(engine, request_of("one too many"))
    engine.abort("r0")
    engine.step()
    submit(engine, request_of("fits"))


def test_the_first_chunk_says_how_many_prompt_tokens_were_cached(engine: Engine, runner: SimulatedRunner) -> None:
    prompt = range(8)
    first = submit(engine, request_of("first", prompt, max_tokens=6))
    run_until_idle(engine)
    computed = len(runner.steps)
    same = submit(engine, request_of("same", prompt, max_tokens=6))
    run_until_idle(engine)
    next_turn = submit(engine, request_of("next turn", [*prompt, *first.token_ids, 7, 7], max_tokens=1))
    run_until_idle(engine)
    assert first.cached_tokens == 0
    assert same.cached_tokens == 4, "of two full pages the last is computed again: its last token decides the next"
    assert next_turn.cached_tokens == 12, "generated tokens are cached too, as far as they were computed"
    assert [row.start for row in runner.steps[computed]] == [4]
    stats = engine.stats()
    assert (stats.prompt_tokens, stats.cached_tokens) == (8 + 8 + 16, 0 + 4 + 12)


def test_equal_prompts_that_run_together_share_their_full_pages(engine: Engine) -> None:
    for name in "ab":
        submit(engine, request_of(name, (5, 6, 7, 8), max_tokens=3))
    engine.step()
    stats = engine.stats()
    assert stats.running == 2
    assert stats.free_pages == stats.total_pages - (1 + 2), "one for the prompt, one for each that goes on"


def test_the_least_recently_used_prefix_is_evicted_first(runner: SimulatedRunner, engine: Engine) -> None:
    old, young = [1] * 17, [2] * 17
    for name, prompt in (("old", old), ("young", young), ("old again", old)):
        submit(engine, request_of(name, prompt, max_tokens=1))
        run_until_idle(engine)
    submit(engine, request_of("large", [3] * 44, max_tokens=1))  # 11 of 16 pages: young's 4 go, old's 4 stay
    run_until_idle(engine)
    assert submit_and_run(engine, "old?", old).cached_tokens == 16
    assert submit_and_run(engine, "young?", young).cached_tokens < 16


def test_of_one_prompt_the_end_is_evicted_before_the_beginning(engine: Engine) -> None:
    submit_and_run(engine, "a", [1] * 32)  # 8 of 16 pages
    submit_and_run(engine, "b", [2] * 44)  # 11: the 8 that were never used, and 3 of a's
    assert submit_and_run(engine, "a again", [1] * 32).cached_tokens == 5 * 4


def test_a_request_that_waits_for_pages_starts_when_the_last_missing_one_is_freed() -> None:
    limits = limits_of(page_size=4, num_pages=3, max_rows=4)
    engine = Engine(SimulatedRunner(limits), max_queue=0, loop_s=0)
    short = submit(engine, request_of("short", (1,), max_tokens=2))
    submit(engine, request_of("long", (2,), max_tokens=4))
    waiting = submit(engine, request_of("waiting", range(8), max_tokens=1))
    engine.step()
    engine.step()
    assert short.finished
    assert not waiting.finished
    engine.step()
    engine.step()
    assert waiting.finished


def submit_and_run(engine: Engine, request_id: str, prompt: list[int]) -> Receiver:
    receiver = submit(engine, request_of(request_id, prompt, max_tokens=1))
    run_until_idle(engine)
    return receiver


def test_a_preempted_request_emits_each_token_once_and_reports_the_cache_of_its_first_start() -> None:
    limits = limits_of(page_size=2, num_pages=8, max_rows=2, max_step_tokens=8, max_context=16)
    engine = Engine(SimulatedRunner(limits), max_queue=2, loop_s=0)
    requests = [request_of("old", (1, 2, 3), max_tokens=12), request_of("young", (4, 5, 6), max_tokens=12)]
    receivers = [submit(engine, request) for request in requests]
    run_until_idle(engine)
    stats = engine.stats()
    assert stats.preemptions > 0
    assert (stats.prompt_tokens, stats.cached_tokens) == (6, 0), "what is computed again is not a cache hit"
    for request, receiver in zip(requests, receivers, strict=True):
        assert (receiver.token_ids, receiver.finish_reason) == expected_tokens(request, 16)
        assert receiver.cached_tokens == 0
    assert_nothing_in_use(engine)


def test_queued_work_past_its_deadline_is_never_computed(
    engine: Engine, runner: SimulatedRunner, clock: FakeClock
) -> None:
    receiver = submit(engine, request_of("late", timeout_s=5))
    clock.now += 5
    assert engine.step()
    assert receiver.chunks == [GenerationChunk(finish_reason=FinishReason.DEADLINE)]
    assert runner.steps == []
    assert engine.stats().deadline_drops == 1


def test_a_running_request_ends_at_its_deadline(engine: Engine, clock: FakeClock) -> None:
    receiver = submit(engine, request_of("a", timeout_s=5))
    engine.step()
    clock.now += 4.9
    engine.step()
    assert len(receiver.token_ids) == 2
    clock.now += 0.1
    engine.step()
    assert (len(receiver.token_ids), receiver.finish_reason) == (2, FinishReason.DEADLINE)
    assert_nothing_in_use(engine)


@pytest.mark.parametrize("phase", ["submitted", "queued", "prefill", "decode", "preempted"])
def test_an_abort_frees_row_and_pages_within_two_steps_in_every_phase(phase: str) -> None:
    limits = limits_of(page_size=2, num_pages=12, max_rows=2, max_step_tokens=8, max_context=24)
    engine = Engine(SimulatedRunner(limits), max_queue=3, loop_s=0)
    if phase == "queued":
        for name in "xy":
            submit(engine, request_of(name, max_tokens=20))
    if phase == "preempted":
        submit(engine, request_of("x", max_tokens=20))
    receiver = submit(engine, request_of("a", range(20) if phase == "prefill" else (7, 8, 9), max_tokens=20))
    if phase == "preempted":
        while not engine.stats().preemptions:
            engine.step()
    elif phase != "submitted":
        engine.step()
    assert len(receiver.chunks) > 0 if phase in ("decode", "preempted") else len(receiver.chunks) == 0
    before = engine.stats()
    engine.abort("a")
    engine.abort("a")
    engine.step()
    engine.step()
    assert [chunk.finish_reason for chunk in receiver.chunks].count(FinishReason.ABORTED) == 1
    after = engine.stats()
    assert after.queued + after.running == before.queued + before.running - 1
    assert after.aborted == 1
    for name in "xy":
        engine.abort(name)
    engine.step()
    assert_nothing_in_use(engine)


@pytest.mark.parametrize("max_tokens", [1, 2])
def test_an_abort_during_the_step_that_may_finish_the_request_gives_exactly_one_last_chunk(
    engine: Engine, runner: SimulatedRunner, max_tokens: int
) -> None:
    receiver = submit(engine, request_of("a", max_tokens=max_tokens))
    runner.before_step = lambda: engine.abort("a")
    run_until_idle(engine)
    assert receiver.finish_reason is (FinishReason.LENGTH if max_tokens == 1 else FinishReason.ABORTED)
    assert len(receiver.chunks) == max_tokens


def test_an_abort_meant_for_a_finished_request_spares_the_next_one_with_its_id(
    engine: Engine, runner: SimulatedRunner
) -> None:
    submit(engine, request_of("a", max_tokens=1))
    runner.before_step = lambda: engine.abort("a")
    engine.step()
    runner.before_step = lambda: None
    second = submit(engine, request_of("a", max_tokens=2))
    run_until_idle(engine)
    assert second.finish_reason is FinishReason.LENGTH


def test_an_abort_of_an_unknown_request_does_nothing(engine: Engine) -> None:
    engine.abort("never seen")
    assert not engine.step()


def test_a_receiver_that_raises_aborts_its_own_request_only(engine: Engine) -> None:
    calls: list[GenerationChunk] = []

    def broken(chunk: GenerationChunk) -> None:
        calls.append(chunk)
        raise ConnectionError("the client went away")

    engine.submit(request_of("broken", max_tokens=8), broken)
    healthy = submit(engine, request_of("healthy", max_tokens=8))
    run_until_idle(engine)
    assert [chunk.finish_reason for chunk in calls] == [None, FinishReason.ABORTED]
    assert (len(healthy.token_ids), healthy.finish_reason) == (8, FinishReason.LENGTH)
    assert engine.failure is None
    assert_nothing_in_use(engine)


def test_a_failed_step_ends_every_request_with_an_error_for_the_client_and_takes_the_engine_out_of_service(
    engine: Engine, runner: SimulatedRunner
) -> None:
    receivers = [submit(engine, request_of(f"r{i}")) for i in range(3)]  # two rows: the third is queued
    engine.step()
    error = RuntimeError("device secret-host-17 ran out of memory")

    def fail() -> None:
        submitted_meanwhile.append(submit(engine, request_of("submitted meanwhile")))
        raise error

    submitted_meanwhile: list[Receiver] = []
    runner.before_step = fail
    assert engine.step()
    for receiver in (*receivers, *submitted_meanwhile):
        assert receiver.finish_reason is FinishReason.ERROR
        assert receiver.chunks[-1].error == "the model failed during this request; try it again"
    assert engine.failure is error
    assert_nothing_in_use(engine)
    assert not engine.step()
    with pytest.raises(EngineUnavailable, match="the engine failed"):
        submit(engine, request_of("later"))


@pytest.mark.parametrize("answer", [[], [[]], [[Token(1), Token(2)]], [[Token(1)], [Token(2)]]])
def test_a_runner_that_answers_for_other_rows_than_asked_is_a_failed_step(answer: list[list[Token]]) -> None:
    class Confused(SimulatedRunner):
        def land(self) -> list[list[Token]]:
            return answer

    engine = Engine(Confused(limits_of()), max_queue=0)
    receiver = submit(engine, request_of("a"))
    engine.step()
    assert receiver.finish_reason is FinishReason.ERROR
    assert isinstance(engine.failure, RuntimeError)


def test_nothing_of_a_step_that_failed_is_ever_served_from_the_cache(engine: Engine, runner: SimulatedRunner) -> None:
    submit_and_run(engine, "warm", [1] * 9)

    def fail() -> None:
        raise RuntimeError

    runner.before_step = fail
    submit(engine, request_of("fails", [1] * 9))
    engine.step()
    assert engine._scheduler.pages.cache.match([1] * 9, "") == []


def test_a_closed_engine_refuses_requests_and_finishes_those_in_flight(engine: Engine) -> None:
    receiver = submit(engine, request_of("a"))
    engine.close()
    with pytest.raises(EngineUnavailable, match="the engine is stopping"):
        submit(engine, request_of("b"))
    run_until_idle(engine)
    assert receiver.finish_reason is FinishReason.LENGTH
    assert not engine.wait_for_work()


def test_a_row_owns_what_it_lists(engine: Engine, runner: SimulatedRunner) -> None:
    submit(engine, request_of("a", range(9), max_tokens=12))
    engine.step()
    row: Row = runner.steps[0][0]
    ids, pages = list(row.token_ids), list(row.pages)
    run_until_idle(engine)
    assert (list(row.token_ids), list(row.pages)) == (ids, pages)
