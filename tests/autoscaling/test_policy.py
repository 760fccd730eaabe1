"""The decision: what it is for any load."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.autoscaling.policy import Cause, ModelLoad, QueueDepthPolicy
from serving.autoscaling.report import TOKENS_OF_A_REQUEST, ReplicaReport

POLICY = QueueDepthPolicy(target_queued_per_replica=4)
ROWS = 8

reports = st.builds(
    ReplicaReport,
    queued=st.integers(0, 200),
    running=st.integers(0, ROWS),
    rows=st.just(ROWS),
    queued_tokens=st.integers(0, 50_000),
)


@st.composite
def loads(draw: st.DrawFn) -> ModelLoad:
    at_least = draw(st.integers(0, 5))
    return ModelLoad(
        target=draw(st.integers(0, 12)),
        min_replicas=at_least,
        max_replicas=draw(st.integers(max(1, at_least), 12)),
        reports=tuple(draw(st.lists(reports, max_size=8))),
        silent=draw(st.integers(0, 3)),
        waiting=draw(st.floats(0, 500)),
    )


def load(*reports: ReplicaReport, target: int, silent: int = 0, waiting: float = 0, at_least: int = 1) -> ModelLoad:
    return ModelLoad(
        target=target,
        min_replicas=at_least,
        max_replicas=20,
        reports=reports,
        silent=silent,
        waiting=waiting,
    )


def report(queued: float = 0, running: float = 0, queued_tokens: float = 0) -> ReplicaReport:
    return ReplicaReport(queued=queued, running=running, rows=ROWS, queued_tokens=queued_tokens, waiting=0)


@given(loads())
@settings(deadline=None)
def test_it_stays_within_the_bounds_and_gives_a_reason(load: ModelLoad) -> None:
    decision = POLICY.decide(load)
    assert load.min_replicas <= decision.target <= load.max_replicas
    assert decision.reason


@given(loads(), st.floats(0, 500))
@settings(deadline=None)
def test_more_in_the_queue_never_means_fewer_groups(load: ModelLoad, more: float) -> None:
    longer = replace(load, waiting=load.waiting + more)
    assert POLICY.decide(longer).target >= POLICY.decide(load).target


@given(loads())
@settings(deadline=None)
def test_a_lower_target_never_means_fewer_groups(load: ModelLoad) -> None:
    assert QueueDepthPolicy(target_queued_per_replica=1).decide(load).target >= POLICY.decide(load).target


@given(loads())
@settings(deadline=None)
def test_it_does_not_shrink_while_a_report_is_missing(load: ModelLoad) -> None:
    decision = POLICY.decide(replace(load, silent=load.silent + 1))
    assert decision.target >= min(load.target, load.max_replicas)
    assert decision.cause not in (Cause.SHRINK, Cause.IDLE)


@given(loads())
@settings(deadline=None)
def test_under_a_constant_load_the_number_settles_and_never_turns_back(load: ModelLoad) -> None:
    targets = [load.target]
    for _ in range(13):  # more than from any target to any bound, one at a time
        targets.append(POLICY.decide(replace(load, target=targets[-1])).target)
    assert targets in (sorted(targets), sorted(targets, reverse=True))
    assert targets[-1] == targets[-2]


@given(loads())
@settings(deadline=None)
def test_it_grows_at_once_and_shrinks_one_at_a_time(load: ModelLoad) -> None:
    once = POLICY.decide(load).target
    assert once >= min(load.target - 1, load.max_replicas)
    if once > load.target:
        assert POLICY.decide(replace(load, target=once)).target == once


@given(st.integers(1, 10), st.floats(0.71, 1.49))
@settings(deadline=None)
def test_a_load_between_the_thresholds_changes_nothing(groups: int, fill: float) -> None:
    running = min(ROWS, fill * ROWS)
    waiting = (fill * ROWS - running) * groups
    decision = POLICY.decide(load(*[report(running=running)] * groups, target=groups, waiting=waiting))
    assert (decision.target, decision.cause) == (groups, Cause.STEADY)


def test_a_burst_of_60_gets_its_groups_in_the_first_decision() -> None:
    # 8 of them run; 60 fit into 5 groups with 8 rows and 4 queued each
    assert POLICY.decide(load(report(running=8), target=1, waiting=52)).target == 5
    assert POLICY.decide(load(report(running=8, queued=52), target=1)).target == 5
    # 60 more than run: 68 need 6
    decision = POLICY.decide(load(report(running=8), target=1, waiting=60))
    assert (decision.target, decision.cause) == (6, Cause.GROW)
    assert decision.reason == "60 queued and 8 running with 8 rows a group, more than 4 queued for each of 1"
    assert POLICY.decide(replace(load(report(running=8), target=1, waiting=60), max_replicas=3)).target == 3


def test_a_bound_that_decides_is_part_of_the_reason() -> None:
    burst = replace(load(report(running=8), target=1, waiting=60), max_replicas=3)
    assert POLICY.decide(burst).reason.endswith("; 6 is limited by max_replicas=3")
    assert POLICY.decide(load(report(), target=1)).reason.endswith("; 0 is raised to min_replicas=1")


def test_full_groups_with_nothing_queued_keep_their_number() -> None:
    assert POLICY.decide(load(report(running=8), report(running=8), report(running=8), target=3)).target == 3


def test_groups_that_still_start_count_as_wanted() -> None:
    decision = POLICY.decide(load(report(running=8), target=5, waiting=52))
    assert (decision.target, decision.cause) == (5, Cause.STEADY)


def test_long_prompts_count_as_several_requests() -> None:
    few = report(running=8, queued=4, queued_tokens=4 * 256)
    long = report(running=8, queued=4, queued_tokens=16 * TOKENS_OF_A_REQUEST)
    assert POLICY.decide(load(few, target=1)).target == 1
    assert POLICY.decide(load(long, target=1)).target == 2


@pytest.mark.parametrize(
    ("given", "target", "cause"),
    [
        (load(report(), target=1, at_least=0), 0, Cause.IDLE),
        (load(report(), report(), report(), target=3, at_least=0), 2, Cause.IDLE),
        (load(report(), target=1, at_least=1), 1, Cause.IDLE),
        (load(report(running=1), target=1, at_least=0), 1, Cause.STEADY),
        (load(report(), target=1, at_least=0, waiting=0.1), 1, Cause.STEADY),
        (load(report(), target=2, silent=1, at_least=0), 2, Cause.HOLD),
        (load(target=1, silent=1, at_least=0), 1, Cause.HOLD),
        (load(target=1, at_least=0), 1, Cause.HOLD),
        (load(target=0, at_least=0), 0, Cause.HOLD),
        (load(target=0, at_least=0, waiting=3), 1, Cause.START),
    ],
)
def test_zero_only_when_every_group_says_that_it_is_idle(given: ModelLoad, target: int, cause: Cause) -> None:
    decision = POLICY.decide(given)
    assert (decision.target, decision.cause) == (target, cause)


@given(reports)
@settings(deadline=None)
def test_a_report_survives_its_way_through_ray_serve(report: ReplicaReport) -> None:
    stats = report.to_stats()
    assert all(type(value) is float for value in stats.values())
    assert ReplicaReport.from_stats(stats) == report


def test_a_report_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="rows=0"):
        ReplicaReport(queued=0, running=0, rows=0, queued_tokens=0, waiting=0)
