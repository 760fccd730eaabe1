"""Urgent requests go first, and the others still go on.

A step runs while these tests submit: the first one that a new request can be in is the one after it.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from serving.engine.engine import Engine
from serving.engine.request import GenerationChunk, GenerationRequest, Priority
from serving.engine.scheduler import AGEING_STEPS
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

URGENT, NORMAL = Priority.URGENT, Priority.NORMAL


def engine_of(**limits: int) -> tuple[Engine, SimulatedRunner]:
    runner = SimulatedRunner(limits_of(**limits))
    return Engine(runner, max_queue=1000, loop_s=0), runner


def test_an_urgent_request_has_its_first_token_one_step_after_the_one_that_runs_though_normal_ones_have_all_rows() -> (
    None
):
    engine, runner = engine_of(max_rows=2)
    normal = [request_of(name, max_tokens=9) for name in ("a", "b", "queued")]
    receivers = [submit(engine, request) for request in normal]
    engine.step()
    assert len(runner.steps[-1]) == 2
    urgent = submit(engine, request_of("urgent", (4, 5), priority=URGENT, max_tokens=3))
    engine.step()
    assert not urgent.chunks, "the step that ran"
    engine.step()
    assert len(urgent.token_ids) == 1
    run_until_idle(engine)
    assert [receiver.token_ids for receiver in receivers] == [expected_tokens(request, 64)[0] for request in normal]


def test_a_paused_sequence_keeps_what_was_computed() -> None:
    engine, runner = engine_of(max_rows=1)
    request = request_of("a", range(6), max_tokens=4)
    paused = submit(engine, request)
    engine.step()
    submit(engine, request_of("urgent", (7, 7), priority=URGENT, max_tokens=3))
    for _ in range(4):
        engine.step()
    assert len(paused.token_ids) == 2, "one in the step that ran"
    run_until_idle(engine)
    assert paused.token_ids == expected_tokens(request, 64)[0]
    assert engine.stats().preemptions == 0
    assert sum(row.num_tokens for rows in runner.steps for row in rows) == (6 + 3) + (2 + 2), "nothing twice"


def test_an_urgent_prompt_takes_the_tokens_of_a_step_first_and_normal_ones_share_the_rest() -> None:
    engine, runner = engine_of(max_rows=4, max_step_tokens=8)
    submit(engine, request_of("prefill", [1] * 40))
    engine.step()
    submit(engine, request_of("urgent", [2] * 14, priority=URGENT))
    for _ in range(4):
        engine.step()
    assert [[row.num_tokens for row in rows] for rows in runner.steps[1:]] == [[8], [8], [6, 2], [1, 7]]


def test_a_prompt_leaves_a_token_for_each_decode_of_its_class_whichever_came_first() -> None:
    engine, runner = engine_of(max_rows=4, max_step_tokens=8)
    submit(engine, request_of("prefill", [1] * 40))
    decoding = [submit(engine, request_of(name, (2,), timeout_s=60)) for name in "ab"]  # started first: in a hurry
    engine.step()
    submit(engine, request_of("urgent", [3] * 7, priority=URGENT, max_tokens=1))
    for _ in range(2):
        engine.step()
    assert [[row.num_tokens for row in rows] for rows in runner.steps[1:]] == [[6, 1, 1], [7, 1]]
    assert [len(receiver.token_ids) for receiver in decoding] == [3, 2]


def test_the_queue_is_by_class_then_by_deadline_then_by_arrival() -> None:
    runner = SimulatedRunner(limits_of(max_rows=1))
    engine = Engine(runner, clock=FakeClock(), max_queue=10, loop_s=0)
    waiting = {
        "normal": request_of("normal"),
        "normal in a hurry": request_of("normal in a hurry", timeout_s=5),
        "patient": request_of("patient", priority=URGENT),
        "also patient": request_of("also patient", priority=URGENT),
        "later": request_of("later", priority=URGENT, timeout_s=9),
        "sooner": request_of("sooner", priority=URGENT, timeout_s=7),
    }
    ended: list[str] = []

    def noting(name: str) -> Callable[[GenerationChunk], None]:
        return lambda _: ended.append(name)

    for name, request in waiting.items():
        engine.submit(replace(request, max_tokens=1), noting(name))
    stats = engine.stats()
    assert (stats.queued, stats.queued_urgent, stats.queued_normal, stats.queued_tokens) == (6, 4, 2, 18)
    run_until_idle(engine)
    assert ended == ["sooner", "later", "patient", "also patient", "normal in a hurry", "normal"]


def test_an_urgent_request_takes_the_pages_of_the_normal_one_that_came_last() -> None:
    engine, runner = engine_of(page_size=4, num_pages=6, max_rows=4)
    requests = [request_of(name, [i] * 7, max_tokens=2 + i) for i, name in enumerate(("first", "last"))]
    receivers = [submit(engine, request) for request in requests]
    engine.step()
    urgent = request_of("urgent", [5] * 15, priority=URGENT, max_tokens=1)
    submit(engine, urgent)
    engine.step()
    engine.step()
    assert engine.stats().preemptions == 1
    assert [[row.num_tokens for row in rows] for rows in runner.steps] == [[7, 7], [1, 1], [15]]
    assert receivers[0].finished and not receivers[1].finished
    run_until_idle(engine)
    assert [receiver.token_ids for receiver in receivers] == [expected_tokens(each, 64)[0] for each in requests]


def test_no_pages_are_taken_when_they_would_not_be_enough() -> None:
    engine, _ = engine_of(page_size=4, num_pages=6, max_rows=4)
    submit(engine, request_of("holds three pages", [1] * 9, priority=URGENT, max_tokens=3))
    submit(engine, request_of("normal", [2], max_tokens=3))
    engine.step()
    submit(engine, request_of("needs five", [3] * 20, priority=URGENT, max_tokens=1))
    engine.step()
    assert (engine.stats().preemptions, engine.stats().queued_urgent) == (0, 1)


def test_no_normal_request_takes_pages_that_an_urgent_one_waits_for() -> None:
    engine, _ = engine_of(page_size=4, num_pages=4, max_rows=4)
    submit(engine, request_of("holds three pages", [1] * 8, priority=URGENT, max_tokens=4))
    engine.step()
    waits = submit(engine, request_of("waits for two", [2] * 7, priority=URGENT, max_tokens=1))
    small = submit(engine, request_of("would fit", [3], max_tokens=1))
    while not waits.finished:
        engine.step()
        assert waits.finished or not small.finished


class Flood:
    """Urgent requests that take every row of every step."""

    def __init__(self, engine: Engine, rows: int, prompt_length: int = 1) -> None:
        self._engine = engine
        self._rows = rows
        self._prompt_length = prompt_length
        self.receivers: list[Receiver] = []

    def step(self) -> None:
        while sum(not receiver.finished for receiver in self.receivers) < 2 * self._rows:
            name = f"u{len(self.receivers)}"
            prompt = [len(self.receivers)] * self._prompt_length
            self.receivers.append(submit(self._engine, request_of(name, prompt, priority=URGENT, max_tokens=2)))
        self._engine.step()


def test_under_a_flood_each_decoding_normal_request_has_a_token_in_any_ageing_steps_and_costs_one_of_them() -> None:
    engine, _ = engine_of(max_rows=3)
    receivers = [submit(engine, request_of(f"n{i}", max_tokens=50)) for i in range(3)]
    engine.step()
    flood = Flood(engine, rows=3)
    flood.step()
    for turns in range(2, 6):
        for _ in range(AGEING_STEPS - 1):
            flood.step()
            assert [len(receiver.token_ids) for receiver in receivers] == [turns] * 3, "urgent ones have all rows"
        flood.step()
        assert [len(receiver.token_ids) for receiver in receivers] == [turns + 1] * 3


def test_under_a_flood_a_normal_request_starts_and_its_prompt_advances_in_one_of_any_ageing_steps() -> None:
    engine, _ = engine_of(max_rows=2, max_step_tokens=4)
    flood = Flood(engine, rows=2, prompt_length=4)
    flood.step()
    normal = submit(engine, request_of("normal", [9] * 12, max_tokens=2))
    for _ in range(3 * AGEING_STEPS):
        flood.step()
    assert not normal.chunks
    flood.step()
    assert len(normal.token_ids) == 1, "three turns of four tokens"
    for _ in range(AGEING_STEPS):
        flood.step()
    assert normal.finished


def test_a_normal_request_that_waits_for_pages_costs_urgent_ones_no_more_than_one_of_any_ageing_steps() -> None:
    engine, _ = engine_of(page_size=4, num_pages=12, max_rows=4)
    submit(engine, request_of("holds pages", [1] * 8, priority=URGENT, max_tokens=30))
    engine.step()
    normal = submit(engine, request_of("waits for pages", [2] * 40))
    urgent: list[Receiver] = []
    unfinished = []
    for i in range(4 * AGEING_STEPS):
        urgent.append(submit(engine, request_of(f"u{i}", [3], priority=URGENT, max_tokens=1)))
        engine.step()
        unfinished.append(sum(not receiver.finished for receiver in urgent) - 1)  # but the one just submitted
    assert max(unfinished) == 1
    assert sum(unfinished) <= 4, "one of any AGEING_STEPS"
    assert not normal.chunks


def first_token_steps(urgent: list[GenerationRequest], normal: list[GenerationRequest], head_start: int) -> list[int]:
    """After how many steps each urgent request has a token, when the normal ones started some steps before."""
    engine, _ = engine_of(page_size=2, num_pages=48, max_rows=2, max_step_tokens=6)
    for request in normal:
        submit(engine, request)
    for _ in range(head_start):
        engine.step()
    receivers = [submit(engine, request) for request in urgent]
    steps = [0] * len(urgent)
    while not all(receiver.finished for receiver in receivers):
        engine.step()
        for i, receiver in enumerate(receivers):
            steps[i] += not receiver.chunks
    return [count + 1 for count in steps]


@given(
    urgent_lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    normal_lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20)), max_size=6),
    head_start=st.integers(0, 30),
)
@settings(deadline=None, max_examples=150)
def test_normal_requests_delay_the_first_token_of_urgent_ones_by_the_steps_of_ageing_and_no_other(
    urgent_lengths: list[int], normal_lengths: list[tuple[int, int]], head_start: int
) -> None:
    urgent = [request_of(f"u{i}", [i] * n, priority=URGENT, max_tokens=1) for i, n in enumerate(urgent_lengths)]
    normal = [
        request_of(f"n{i}", [100 + i] * length, max_tokens=max_tokens)
        for i, (length, max_tokens) in enumerate(normal_lengths)
    ]
    alone = first_token_steps(urgent, [], 0)
    beside = first_token_steps(urgent, normal, head_start)
    for own, with_normal in zip(alone, beside, strict=True):
        ageing = -(-with_normal // AGEING_STEPS)
        assert own <= with_normal <= own + 1 + ageing, "one step ran when they came"
