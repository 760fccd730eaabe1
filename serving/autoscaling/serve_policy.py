"""QueueDepthPolicy inside Ray Serve's controller: reads its context, says what was decided and why."""

import logging
from typing import TYPE_CHECKING

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.policy import Cause, ModelLoad, QueueDepthPolicy
from serving.autoscaling.report import STATS, ReplicaReport
from serving.telemetry.metrics import AUTOSCALING_DECISIONS, AUTOSCALING_TARGET
from serving.telemetry.recorder import RayRecorder

if TYPE_CHECKING:
    from ray.serve._private.common import ReplicaID
    from ray.serve.config import AutoscalingContext

_log = logging.getLogger("ray.serve.queue_depth")  # below Ray Serve's logger, whose handlers write the controller's log


def serve_autoscaling_options(config: AutoscalingConfig) -> dict[str, object]:
    """The `autoscaling_config` of `serve.deployment` for a deployment whose replicas send `ReplicaReport`s."""
    return {
        "min_replicas": config.min_replicas,
        "max_replicas": config.max_replicas,
        "upscale_delay_s": config.upscale_delay_s,
        "downscale_delay_s": config.downscale_delay_s,
        "metrics_interval_s": config.metrics_interval_s,
        "look_back_period_s": config.stale_after_s,
        "policy": {
            "policy_function": f"{__name__}:{ServeQueueDepthPolicy.__name__}",
            "policy_kwargs": {
                "target_queued_per_replica": config.target_queued_per_replica,
                "stale_after_s": config.stale_after_s,
            },
        },
    }


class ServeQueueDepthPolicy:
    """A Ray Serve autoscaling policy class: Ray makes one for each deployment and calls it ten times a second.

    Bounds are applied here, so that the reason tells of them; delays are applied by Ray Serve to what is returned. When
    a deployment has no running replica and requests wait, Ray Serve starts one (or those already wanted) without
    asking.
    """

    def __init__(self, *, target_queued_per_replica: float, stale_after_s: float) -> None:
        self._policy = QueueDepthPolicy(target_queued_per_replica=target_queued_per_replica)
        self._stale_after_s = stale_after_s
        self._last: tuple[int, Cause] | None = None
        self._recorder = RayRecorder()

    def __call__(self, ctx: "AutoscalingContext") -> tuple[int, dict[str, object]]:
        """The replicas wanted and no state for Ray Serve to keep: the next decision needs none."""
        decision = self._policy.decide(load_from_context(ctx, stale_after_s=self._stale_after_s))
        labels = {"application": ctx.app_name or "", "deployment": ctx.deployment_name}
        self._recorder.record(AUTOSCALING_TARGET, decision.target, **labels)
        if (decision.target, decision.cause) != self._last:
            self._last = (decision.target, decision.cause)
            self._recorder.record(AUTOSCALING_DECISIONS, 1, **labels, cause=decision.cause)
            _log.info(
                "%s: %d replica groups (now %d running, %d wanted), %s: %s",
                ctx.deployment_name,
                decision.target,
                ctx.current_num_replicas,
                ctx.target_num_replicas,
                decision.cause,
                decision.reason,
            )
        return decision.target, {}


def load_from_context(ctx: "AutoscalingContext", *, stale_after_s: float) -> ModelLoad:
    """Takes each replica's newest report; Ray Serve's aggregates would blur it."""
    oldest = (ctx.current_time or 0.0) - stale_after_s
    reports = [_newest_report(ctx, replica, oldest) for replica in ctx.running_replicas]
    fresh = tuple(report for report in reports if report is not None)
    return ModelLoad(
        target=ctx.target_num_replicas,
        min_replicas=ctx.capacity_adjusted_min_replicas,
        max_replicas=ctx.capacity_adjusted_max_replicas,
        reports=fresh,
        silent=len(reports) - len(fresh),
        # A Gateway that knows no group calls the deployment's handle instead; Ray Serve counts that.
        waiting=max((report.waiting for report in fresh), default=float(ctx.total_queued_requests or 0)),
    )


def _newest_report(ctx: "AutoscalingContext", replica: "ReplicaID", oldest: float) -> ReplicaReport | None:
    raw = ctx.raw_metrics or {}
    series = {name: raw.get(name, {}).get(replica) for name in STATS}
    newest = {name: points[-1] for name, points in series.items() if points}
    if len(newest) < len(STATS) or min(point.timestamp for point in newest.values()) < oldest:
        return None
    return ReplicaReport.from_stats({name: point.value for name, point in newest.items()})
