"""Timelines: what was done for a request that is followed, and nothing for others."""

import math
from typing import Any

import pytest

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationRequest
from serving.engine.timeline import Timeline
from tests.engine.simulated import FakeClock, SimulatedRunner, limits_of, request_of, run_until_idle, submit

STEP_S = 0.5


class Traced:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runner = SimulatedRunner(limits_of(max_rows=2, max_step_tokens=4))
        self.runner.before_step = self._take_time
        self.timelines: list[Timeline] = []
        self.engine = Engine(
            self.runner,
            max_queue=8,
            lead_s=math.inf,
            clock=self.clock,
            wall_clock=self.clock,
            on_traced=self.timelines.append,
        )

    def _take_time(self) -> None:
        self.clock.now += STEP_S


@pytest.fixture
def traced() -> Traced:
    return Traced()


def request(name: str, trace: str = "t", **fields: Any) -> GenerationRequest:
    plain = request_of(name, range(10), max_tokens=3, **fields)
    return GenerationRequest(**{field: getattr(plain, field) for field in plain.__struct_fields__} | {"trace": trace})


def test_every_step_of_a_request_is_in_its_timeline_with_its_tokens(traced: Traced) -> None:
    submitted_at = traced.clock.now
    submit(traced.engine, request("a"))
    run_until_idle(traced.engine)
    [timeline] = traced.timelines
    assert (timeline.trace, timeline.submitted, timeline.finish_reason) == ("t", submitted_at, FinishReason.LENGTH)
    assert [(step.tokens, step.sampled) for step in timeline.steps] == [
        (4, False), (4, False), (2, True), (1, True), (1, True)
    ]  # fmt: skip
    assert all(step.ended - step.started == STEP_S for step in timeline.steps)
    assert timeline.ended == timeline.steps[-1].ended == traced.clock.now


def test_a_request_that_is_not_traced_has_none(traced: Traced) -> None:
    submit(traced.engine, request("a", trace=""))
    run_until_idle(traced.engine)
    assert traced.timelines == []


def test_a_request_that_is_dropped_in_the_queue_has_a_timeline_without_steps(traced: Traced) -> None:
    submit(traced.engine, request("a"))
    traced.engine.abort("a")
    run_until_idle(traced.engine)
    [timeline] = traced.timelines
    assert (timeline.steps, timeline.finish_reason) == ([], FinishReason.ABORTED)


def test_a_failed_engine_still_tells_what_it_did(traced: Traced) -> None:
    submit(traced.engine, request("a"))
    traced.engine.step()
    traced.engine.fail(RuntimeError("broken"))
    [timeline] = traced.timelines
    assert (len(timeline.steps), timeline.finish_reason) == (1, FinishReason.ERROR)
