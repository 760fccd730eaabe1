"""QueueDepthPolicy: from queued work to a number of replica groups. Plain values only: no Ray, no clock."""

import math
from dataclasses import dataclass
from enum import StrEnum

from serving.autoscaling.report import ReplicaReport

SHRINK_TO_FILL = 0.7
"""Groups are stopped only if the work then fills at most this part of the remaining rows, with nothing queued."""


class Cause(StrEnum):
    """Why a decision is what it is: the `cause` of the metric that counts decisions."""

    START = "start"
    """Requests wait and no group exists."""
    GROW = "grow"
    """More work is queued than the target allows."""
    STEADY = "steady"
    """Neither too much work nor too little."""
    SHRINK = "shrink"
    """The work fits into fewer groups."""
    IDLE = "idle"
    """Nothing is queued and nothing runs."""
    HOLD = "hold"
    """Fewer groups would do, as far as known; but a group has not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoad:
    """What is known when a decision is due.

    Attributes:
      target: replica groups wanted so far, those that still start included.
      reports: of the running groups, the fresh ones.
      silent: running groups whose report is missing or stale.
      waiting: requests that wait in front of the groups, assigned to none.
    """

    target: int
    min_replicas: int
    max_replicas: int
    reports: tuple[ReplicaReport, ...]
    silent: int
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A number of replica groups, within the bounds, and why, in one word and in a sentence."""

    target: int
    cause: Cause
    reason: str


class QueueDepthPolicy:
    """Enough groups that each has its rows filled and at most a target of requests queued; fewer with room to spare.

    With W the requests queued and running, R the rows of a group and T the target, it wants at least W / (R + T)
    groups, at once, and at most W / (R * SHRINK_TO_FILL), one fewer at a time. Both depend on W alone, and the first is
    never above the second: under a constant load the number never turns back.
    """

    def __init__(self, *, target_queued_per_replica: float) -> None:
        self._target_queued = target_queued_per_replica

    def decide(self, load: ModelLoad) -> Decision:
        """Depends on `load` alone."""
        target, cause, reason = self._unbounded(load)
        bounded = max(load.min_replicas, min(load.max_replicas, target))
        if bounded < target:
            reason += f"; {target} is limited by max_replicas={load.max_replicas}"
        elif bounded > target:
            reason += f"; {target} is raised to min_replicas={load.min_replicas}"
        return Decision(target=bounded, cause=cause, reason=reason)

    def _unbounded(self, load: ModelLoad) -> tuple[int, Cause, str]:
        if not load.reports:
            if load.target == 0 and load.waiting > 0:
                return 1, Cause.START, f"{load.waiting:.3g} requests wait and no group exists"
            return load.target, Cause.HOLD, f"no report from any of {load.target} wanted groups"
        queued = load.waiting + sum(report.queued_work for report in load.reports)
        running = sum(report.running for report in load.reports)
        rows = sum(report.rows for report in load.reports) / len(load.reports)
        work = queued + running
        at_least = math.ceil(work / (rows + self._target_queued))
        enough = math.ceil(work / (rows * SHRINK_TO_FILL))
        known = f"{queued:.3g} queued and {running:.3g} running with {rows:.3g} rows a group"
        if at_least > load.target:
            return at_least, Cause.GROW, f"{known}, more than {self._target_queued:g} queued for each of {load.target}"
        if enough >= load.target:
            return load.target, Cause.STEADY, known
        if load.silent:
            return load.target, Cause.HOLD, f"{known}, but no report from {load.silent} groups: not shrinking"
        # One at a time: Ray Serve follows the wish of one moment, and a quiet one must not stop most of the groups.
        if enough == 0:
            return load.target - 1, Cause.IDLE, known
        fit = f"{known} fit into {enough} groups with {1 - SHRINK_TO_FILL:.0%} of the rows free"
        return load.target - 1, Cause.SHRINK, fit
