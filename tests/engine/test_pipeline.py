"""Steps ahead and in loops: how many there may be, and when the next one is due."""

import math
import threading
from collections import deque
from collections.abc import Sequence as Several

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.engine import LEAD_S, LOOP_S, Engine
from serving.engine.pace import Pace
from serving.engine.pipeline import Pipeline
from serving.engine.request import FinishReason, Priority
from serving.engine.sequence import Sequence
from serving.engine.step_plan import StepPlan
from sharding.step import MAX_DRAWS, Limits, Row, Token
from tests.engine.simulated import (
    TIMEOUT_S,
    FakeClock,
    Receiver,
    SimulatedRunner,
    expected_tokens,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)


class Timed:
    """An engine whose every round takes the same time on its clock."""

    def __init__(self, round_s: float, **limits: int) -> None:
        self.clock = FakeClock()
        self.runner = SimulatedRunner(limits_of(**limits))
        self.runner.before_step = self._take_time
        self.round_s = round_s
        self.engine = Engine(self.runner, max_queue=8, clock=self.clock, lead_s=math.inf)

    def _take_time(self) -> None:
        self.clock.now += self.round_s * max(1, self.runner.running_draws)

    def draws(self) -> list[int]:
        """The most that a row drew in each step so far."""
        return [max(row.draws for row in rows) for rows in self.runner.steps]


@pytest.mark.parametrize(("round_s", "most"), [(0.0, MAX_DRAWS), (0.001, MAX_DRAWS), (0.005, 4), (0.019, 1), (1.0, 1)])
def test_a_loop_takes_no_longer_than_others_may_wait(round_s: float, most: int) -> None:
    timed = Timed(round_s)
    submit(timed.engine, request_of("a", max_tokens=50))
    run_until_idle(timed.engine)
    assert max(timed.draws()) == most
    assert most == 1 or most * round_s <= LOOP_S


def test_there_is_no_loop_before_it_is_known_how_long_it_takes() -> None:
    timed = Timed(0.001)
    submit(timed.engine, request_of("a", max_tokens=50))
    timed.engine.step()
    timed.engine.step()
    assert timed.draws() == [1, 1], "a prompt, a first round"


@pytest.mark.parametrize("priority", list(Priority))
def test_there_is_no_loop_while_a_request_waits_for_a_row(priority: Priority) -> None:
    timed = Timed(0.001, max_rows=1)
    first = submit(timed.engine, request_of("first", priority=Priority.URGENT, max_tokens=30))
    waiting = submit(timed.engine, request_of("waiting", priority=priority, max_tokens=30))
    while not first.finished:
        timed.engine.step()
    assert set(timed.draws()) == {1}
    run_until_idle(timed.engine)
    assert max(timed.draws()) > 1, "it loops once it is alone"
    assert waiting.finish_reason is FinishReason.LENGTH


def test_a_loop_uses_free_pages_and_takes_none_from_others() -> None:
    timed = Timed(0.001, page_size=4, num_pages=4, max_context=16)
    requests = [request_of(name, [index] * 3, max_tokens=5) for index, name in enumerate("ab")]
    receivers = [submit(timed.engine, request) for request in requests]
    run_until_idle(timed.engine)
    assert max(timed.draws()) > 1
    assert timed.engine.stats().preemptions == 0
    assert [receiver.token_ids for receiver in receivers] == [expected_tokens(each, 16)[0] for each in requests]


def test_an_abort_ends_a_request_with_the_step_that_runs() -> None:
    timed = Timed(0.001)
    receiver = submit(timed.engine, request_of("a", max_tokens=50))
    for _ in range(3):
        timed.engine.step()
    timed.engine.abort("a")
    timed.engine.step()
    assert receiver.finish_reason is FinishReason.ABORTED
    assert not timed.engine.step(), "nothing is left on the device either"


@given(stop=st.integers(0, 10), prompt=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_tokens_after_a_stop_id_are_never_sent_whatever_was_launched_behind_it(
    stop: int, prompt: list[int], seed: int
) -> None:
    request = request_of("a", prompt, max_tokens=40, seed=seed, stop_ids=frozenset({stop}))
    timed = Timed(0.001)
    receiver = submit(timed.engine, request)
    run_until_idle(timed.engine)
    assert (receiver.token_ids, receiver.finish_reason) == expected_tokens(request, 64)


def test_a_request_that_comes_while_a_step_runs_is_part_of_the_next_one() -> None:
    runner = SimulatedRunner(limits_of())
    clock = FakeClock()

    def take_an_hour() -> None:
        clock.now += 3600

    runner.before_step = take_an_hour
    engine = Engine(runner, max_queue=8, clock=clock, lead_s=0)
    submit(engine, request_of("first", max_tokens=9))
    for _ in range(2):
        engine.step()
    stepping = threading.Thread(target=engine.step, daemon=True)
    stepping.start()  # a step runs for an hour; the next one is launched at its end, or when something comes
    second = submit(engine, request_of("second", [7, 7], max_tokens=1))
    stepping.join(TIMEOUT_S)
    assert not stepping.is_alive()
    assert not second.chunks, "the step that ran"
    (behind,) = runner.launched
    assert [row.num_tokens for row in behind] == [1, 2]


class Device:
    """A runner whose steps end by themselves on a clock, whether somebody waits for them or not.

    Attributes:
      step_s: seconds of the steps that are launched from now on.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.step_s = 0.1
        self._clock = clock
        self._ends = deque([clock.now])

    @property
    def limits(self) -> Limits:
        return limits_of()

    def launch(self, rows: Several[Row]) -> None:
        self._ends.append(max(self._ends[-1], self._clock.now) + self.step_s)

    def land(self) -> list[list[Token]]:
        self._ends.popleft()
        self._clock.now = max(self._clock.now, self._ends[0])
        return [[Token(0)]]


@given(slow=st.lists(st.floats(0.1, 100), max_size=9), host_s=st.floats(0, 2 * LEAD_S))
def test_a_device_that_was_slow_does_not_stay_idle_once_it_is_not(slow: list[float], host_s: float) -> None:
    clock = FakeClock()
    device = Device(clock)
    pipeline = Pipeline(device, Pace(), clock)
    row = Row(slot=0, start=1, token_ids=(), draws=1, pages=(), opening=None)
    sequence = Sequence(request=request_of("a"), on_chunk=Receiver(), max_length=64, arrival=0, sent_at=0)

    def launch() -> None:
        clock.now += host_s
        pipeline.launch(StepPlan(sequences=[sequence], tokens=[1], rows=[row]))

    def step(seconds: float) -> float:
        """As the engine does; returns how long it took."""
        began, device.step_s = clock.now, seconds
        clock.now = max(clock.now, pipeline.expected_end() - LEAD_S)
        launch()
        pipeline.land()
        return clock.now - began

    launch()
    for seconds in slow:
        step(seconds)
    for _ in range(6):
        step(0.1)
    assert sum(step(0.1) for _ in range(20)) <= 20 * (0.1 + host_s) + 0.01
