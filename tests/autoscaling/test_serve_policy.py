"""The policy on Ray Serve's own context, as its controller calls it."""

import logging
from collections.abc import Mapping

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingConfig as RayAutoscalingConfig
from ray.serve.config import AutoscalingContext

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.report import ReplicaReport
from serving.autoscaling.serve_policy import ServeQueueDepthPolicy, load_from_context, serve_autoscaling_options

NOW = 1000.0
DEPLOYMENT = DeploymentID(name="code", app_name="codegemma")
A, B = (ReplicaID(unique_id=name, deployment_id=DEPLOYMENT) for name in "ab")
CONFIG = AutoscalingConfig(min_replicas=0, max_replicas=8, upscale_delay_s=0, downscale_delay_s=0, metrics_interval_s=1)

pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


def report(queued: float = 0, running: float = 0, waiting: float = 0) -> ReplicaReport:
    return ReplicaReport(queued=queued, running=running, rows=8, queued_tokens=0, waiting=waiting)


def context(
    reports: Mapping[ReplicaID, list[tuple[float, ReplicaReport]]],
    *,
    running: tuple[ReplicaID, ...] = (A,),
    target: int = 1,
    handle_queued: float = 0,
) -> AutoscalingContext:
    raw: dict[str, dict[ReplicaID, list[TimeStampedValue]]] = {}
    for replica, points in reports.items():
        for time, point in points:
            for name, value in point.to_stats().items():
                raw.setdefault(name, {}).setdefault(replica, []).append(TimeStampedValue(time, value))
    return AutoscalingContext(
        deployment_id=DEPLOYMENT,
        deployment_name=DEPLOYMENT.name,
        app_name=DEPLOYMENT.app_name,
        current_num_replicas=len(running),
        target_num_replicas=target,
        running_replicas=list(running),
        total_num_requests=lambda: handle_queued,
        total_queued_requests=lambda: handle_queued,
        aggregated_metrics=dict,
        raw_metrics=lambda: raw,
        capacity_adjusted_min_replicas=CONFIG.min_replicas,
        capacity_adjusted_max_replicas=CONFIG.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=NOW,
        config=RayAutoscalingConfig.model_validate(serve_autoscaling_options(CONFIG)),
    )


@pytest.fixture
def policy() -> ServeQueueDepthPolicy:
    return ServeQueueDepthPolicy(target_queued_per_replica=4, stale_after_s=CONFIG.stale_after_s)


def test_the_newest_report_counts_not_the_mean(policy: ServeQueueDepthPolicy) -> None:
    ctx = context({A: [(NOW - 2, report()), (NOW - 1, report()), (NOW, report(queued=52, running=8))]})
    assert policy(ctx) == (5, {})


def test_what_waits_in_the_gateways_is_added_once(policy: ServeQueueDepthPolicy) -> None:
    assert policy(context({A: [(NOW, report(running=8, waiting=52))]})) == (5, {})
    both = {A: [(NOW, report(running=8, waiting=52))], B: [(NOW, report(running=8, waiting=52))]}
    assert policy(context(both, running=(A, B), target=2)) == (6, {})


def test_who_calls_where_no_group_is_starts_one(policy: ServeQueueDepthPolicy) -> None:
    assert policy(context({}, running=(), target=0, handle_queued=2)) == (1, {})


def test_a_stale_report_is_none() -> None:
    ctx = context({A: [(NOW - CONFIG.stale_after_s - 0.1, report())]})
    load = load_from_context(ctx, stale_after_s=CONFIG.stale_after_s)
    assert (load.reports, load.silent) == ((), 1)


def test_a_report_just_fresh_enough_counts() -> None:
    ctx = context({A: [(NOW - CONFIG.stale_after_s, report(running=1))]})
    load = load_from_context(ctx, stale_after_s=CONFIG.stale_after_s)
    assert (load.reports, load.silent) == ((report(running=1),), 0)


def test_a_replica_without_report_is_silent_and_a_stopped_one_is_nothing() -> None:
    ctx = context({A: [(NOW, report(running=2))]}, running=(B,))
    load = load_from_context(ctx, stale_after_s=CONFIG.stale_after_s)
    assert (load.reports, load.silent) == ((), 1)


def test_an_incomplete_report_is_none() -> None:
    ctx = context({A: [(NOW, report())]})
    assert ctx.raw_metrics is not None
    ctx.raw_metrics.pop("engine_rows")
    assert load_from_context(ctx, stale_after_s=CONFIG.stale_after_s).silent == 1


def test_no_running_replica_is_no_error(policy: ServeQueueDepthPolicy) -> None:
    assert policy(context({}, running=(), target=0)) == (0, {})
    assert policy(context({}, running=(), target=3)) == (3, {})


def test_ray_serve_shrinks_two_idle_replicas_but_not_past_a_silent_one(policy: ServeQueueDepthPolicy) -> None:
    decide = _apply_autoscaling_config(policy)  # with Ray Serve's own delays, here 0
    both = {A: [(NOW, report())], B: [(NOW, report())]}
    only_one = {A: [(NOW, report())]}
    assert decide(context(both, running=(A, B), target=2))[0] == 1  # never from 2 to 0 at once
    assert decide(context(only_one, running=(A, B), target=2))[0] == 2


def test_a_change_is_logged_once(policy: ServeQueueDepthPolicy, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ray.serve.queue_depth"):
        for queued in (52, 51, 0):
            policy(context({A: [(NOW, report(queued=queued, running=8))]}))
    assert caplog.messages == [
        "code: 5 replica groups (now 1 running, 1 wanted), grow: "
        "52 queued and 8 running with 8 rows a group, more than 4 queued for each of 1",
        "code: 1 replica groups (now 1 running, 1 wanted), steady: 0 queued and 8 running with 8 rows a group",
    ]
