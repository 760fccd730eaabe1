"""GroupMetrics: what a group tells of itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from serving.config import ModelConfig, Role
from serving.engine.engine import DeadlineUnreachable, Engine
from serving.engine.request import GenerationRequest, Priority
from serving.group.metrics import GroupMetrics
from serving.telemetry import metrics
from tests.engine.simulated import FakeClock, SimulatedRunner, limits_of, request_of, run_until_idle, submit
from tests.telemetry.memory_recorder import MemoryRecorder

STEP_S = 0.5
MODEL = ModelConfig(id="tiny", checkpoint="x", roles=(Role.FIM,))


class Runner(SimulatedRunner):
    adapters: Any = None
    """What `GroupMetrics` asks a group's runner, too."""

    recompilations = 0
    step_limit_s = 0.25

    async def check(self) -> None: ...

    def close(self) -> None: ...


class Group:
    def __init__(self) -> None:
        clock = FakeClock()
        self.runner = Runner(limits_of(max_rows=2, max_step_tokens=8))

        def take_time() -> None:
            clock.now += STEP_S

        self.runner.before_step = take_time
        self.engine = Engine(self.runner, max_queue=8, clock=clock, wall_clock=clock)
        self.recorder = MemoryRecorder()
        self.metrics = GroupMetrics(MODEL, self.engine, self.runner, self.recorder)


@pytest.fixture
def group() -> Group:
    return Group()


def request(name: str, **fields: Any) -> GenerationRequest:
    return request_of(name, range(5), max_tokens=4, **fields)


def test_at_first_every_counter_is_0_and_nothing_waits(group: Group) -> None:
    group.metrics.report()
    recorded = {name for name, _ in group.recorder.values}
    counters = {metric.name for metric in metrics.METRICS if metric.kind == "counter" and metric.labels == ("model",)}
    assert counters <= recorded
    assert all(values == [0] for (name, _), values in group.recorder.values.items() if name in counters)
    assert group.recorder.last(metrics.QUEUE_DEPTH, priority="urgent") == 0
    assert group.recorder.last(metrics.KV_USED_RATIO) == 0
    assert group.recorder.last(metrics.STEP_LIMIT_SECONDS) == 0.25


def test_what_waits_is_told_by_class_and_what_runs_beside_it(group: Group) -> None:
    for number in range(3):
        submit(group.engine, request(f"urgent {number}", priority=Priority.URGENT))
    submit(group.engine, request("chat", priority=Priority.NORMAL))
    group.metrics.report()
    assert group.recorder.last(metrics.QUEUE_DEPTH, priority="urgent") == 3
    assert group.recorder.last(metrics.QUEUE_DEPTH, priority="normal") == 1
    group.engine.step()
    group.metrics.report()
    assert group.recorder.last(metrics.RUNNING_REQUESTS) > 0
    assert 0 < group.recorder.last(metrics.KV_USED_RATIO) <= 1


def test_counters_grow_by_what_came_since_the_last_report(group: Group) -> None:
    for name in ("a", "b"):
        submit(group.engine, request(name))
        run_until_idle(group.engine)
        group.metrics.report()
    stats = group.engine.stats()
    assert group.recorder.total(metrics.GENERATED_TOKENS, model="tiny") == stats.generated_tokens == 8
    assert group.recorder.total(metrics.PROMPT_TOKENS) == stats.prompt_tokens == 10
    assert group.recorder.total(metrics.CACHED_TOKENS) == stats.cached_tokens


def test_every_step_is_observed_once(group: Group) -> None:
    submit(group.engine, request("a"))
    run_until_idle(group.engine)
    for _ in range(2):
        group.metrics.report()
    assert group.recorder.observed(metrics.STEP_SECONDS) == [STEP_S] * len(group.runner.steps)


def test_superseded_aborted_and_late_requests_are_counted(group: Group) -> None:
    submit(group.engine, request("old", session_id="editor", priority=Priority.URGENT, sent_at=1.0))
    submit(group.engine, request("new", session_id="editor", priority=Priority.URGENT, sent_at=2.0))
    submit(group.engine, request("gone"))
    group.engine.abort("gone")
    submit(group.engine, request("late", timeout_s=STEP_S * 1.5))
    with pytest.raises(DeadlineUnreachable):
        submit(group.engine, request("too late", timeout_s=0.0))
    run_until_idle(group.engine)
    group.metrics.report()
    assert group.recorder.total(metrics.SUPERSEDED) == 1
    assert group.recorder.total(metrics.ABORTED) == 1
    assert group.recorder.total(metrics.DEADLINE_DROPS) == 2


def test_while_a_group_leaves_it_reports_by_itself_and_at_last(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.group.metrics._PERIOD_S", 0.001)
    with group.metrics.reporting():
        while not group.recorder.values:
            pass  # the thread reports, or the test's timeout ends it
        submit(group.engine, request("last"))
        run_until_idle(group.engine)
    assert group.recorder.total(metrics.GENERATED_TOKENS) == 4


def test_a_recompilation_is_counted(group: Group) -> None:
    group.metrics.report()
    group.runner.recompilations = 1
    group.metrics.report()
    assert group.recorder.total(metrics.RECOMPILATIONS) == 1


def test_of_a_model_with_adapters_it_is_told_how_long_ago_they_were_looked_at(group: Group) -> None:
    group.metrics.report()
    assert not any(name == metrics.ADAPTER_DIRECTORY_AGE.name for name, _ in group.recorder.values)
    group.runner.adapters = SimpleNamespace(age_s=7.5)
    group.metrics.report()
    assert group.recorder.last(metrics.ADAPTER_DIRECTORY_AGE, model="tiny") == 7.5
