"""Rollout: whether a RayService serves what its manifest says."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError
from serving.cluster.release import service_of

POLL_S = 2.0
"""Between two looks at the cluster."""
_UNFINISHED = ("Suspended", "Suspending", "RollbackInProgress", "UpgradeInProgress")


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far it is.

    Attributes:
      done: the newest manifest is served.
      text: what it does, or what it waits for.
    """

    done: bool
    text: str


def rollout_of(service: Object) -> Rollout:
    """What the status of a RayService says."""
    status = service.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    if status.get("observedGeneration", 0) < service["metadata"].get("generation", 0):
        return Rollout(False, "the operator has not seen the newest manifest yet")
    for kind in _UNFINISHED:
        if kind in conditions and conditions[kind]["status"] == "True":
            return Rollout(False, _words(conditions[kind]))
    ready = conditions.get("Ready")
    if ready is None or ready["status"] != "True":
        return Rollout(False, _words(ready) if ready else "the operator has not reported yet")
    active = status.get("activeServiceStatus") or {}
    for name, application in (active.get("applicationStatuses") or {}).items():
        if application.get("status") != "RUNNING":
            said = f": {application['message']}" if application.get("message") else ""
            return Rollout(False, f"application {name} is {application.get('status', 'UNKNOWN')}{said}")
    return Rollout(True, "in service")


def watch_rollout(cluster: Cluster, release: str, timeout_s: float) -> Iterator[Rollout]:
    """How far it is, each time one looks, until it is done.

    Raises:
      ClusterError: it is not done within the time.
    """
    end = time.monotonic() + timeout_s
    while True:
        rollout = rollout_of(service_of(cluster, release))
        yield rollout
        if rollout.done:
            return
        if time.monotonic() >= end:
            raise ClusterError(
                f"RayService '{release}' is not in service after {timeout_s:g} s: {rollout.text}. It goes on without "
                "this command; `codegemma cluster status` says what it waits for."
            )
        time.sleep(POLL_S)


def _words(condition: Object) -> str:
    said = condition.get("message") or condition.get("reason") or "no reason given"
    return f"{condition['type']} is {condition['status'].lower()}: {said}"
