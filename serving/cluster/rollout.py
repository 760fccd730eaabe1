"""Rollout: whether a RayService serves what its manifest says."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError
from serving.cluster.events import newest_about, read_warnings, time_of, words_of
from serving.cluster.release import service_of

POLL_S = 2.0
"""Seconds between two requests to the cluster."""
SETTLED_S = 5.0
"""How long a service must look ready. KubeRay reads Ray Serve's status before it sends a new configuration, and reports
that status as the new configuration's; the true status comes with its next reconciliation, two seconds later."""
_UNFINISHED = ("Suspended", "Suspending", "RollbackInProgress", "UpgradeInProgress")
_SYMPTOMS = ("Initializing", "ZeroServeEndpoints")
"""Reasons of an unready condition that name no cause."""
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the rollout is.

    Attributes:
      done: the newest manifest is served.
      text: what it does, or what went wrong and what it waits for.
    """

    done: bool
    text: str


def rollout_of(service: Object, warnings: Iterable[Object] = ()) -> Rollout:
    """The state in a RayService's status.

    Args:
      service: the RayService.
      warnings: events of the namespace; the newest about the RayService tells what its status may not.
    """
    unfinished = _unfinished(service)
    if unfinished is None:
        return Rollout(True, "in service")
    failure = _failure(service, warnings)
    return Rollout(False, f"{failure} ({unfinished})" if failure not in (None, unfinished) else unfinished)


def _unfinished(service: Object) -> str | None:
    """The first step that is not done yet; None if the newest manifest is served."""
    status, conditions = service.get("status") or {}, _conditions(service)
    if status.get("observedGeneration", 0) < service["metadata"].get("generation", 0):
        return "the operator has not taken up the newest manifest yet"
    for kind in _UNFINISHED:
        if kind in conditions and conditions[kind]["status"] == "True":
            return _words(conditions[kind])
    ready = conditions.get("Ready")
    if ready is None or ready["status"] != "True":
        return _words(ready) if ready else "the operator has not reported yet"
    applications = _applications(status.get("activeServiceStatus"))
    if not applications:  # the operator asks Ray's head, which may be away
        return "Ray has not said yet how its application is"
    return next((said for name, one in applications.items() if (said := _not_running(name, one))), None)


def _failure(service: Object, warnings: Iterable[Object]) -> str | None:
    """What went wrong, if anything did.

    KubeRay leaves the rest of the status as it was when it refuses a manifest, and all of it when a step fails. It
    says why in the condition of the former, and in an event of the latter.
    """
    status, ready = service.get("status") or {}, _conditions(service).get("Ready")
    if ready is not None and ready["status"] == "False" and ready.get("reason") not in _SYMPTOMS:
        return _words(ready)
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        for name, application in _applications(status.get(part)).items():
            if application.get("status") in _FAILED:
                return _not_running(name, application)
    newest = newest_about(warnings, "RayService", service["metadata"]["name"])
    if newest is not None and time_of(newest) >= _last_change(service):
        return f"warning: {words_of(newest)}"
    return None


def watch_rollout(
    cluster: Cluster,
    release: str,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Rollout]:
    """The rollout at each look, until it has been done for SETTLED_S.

    Args:
      cluster: where.
      release: whose RayService.
      timeout_s: how long to look at most.
      clock: seconds.
      sleep: waits for some.

    Raises:
      ClusterError: it is not done within the time.
    """
    end, good_since = clock() + timeout_s, None
    while True:
        asked = clock()
        service = service_of(cluster, release)
        name = service["metadata"]["name"]
        rollout = rollout_of(service, read_warnings(cluster, kind="RayService", name=name))
        if not rollout.done:
            good_since = None
        elif good_since is None:
            good_since = clock()
        if good_since is not None and asked - good_since < SETTLED_S:
            rollout = Rollout(False, f"looks in service; done when it has for {SETTLED_S:g} s")
        yield rollout
        if rollout.done:
            return
        if clock() >= end:
            raise ClusterError(
                f"RayService '{name}' is not in service after {timeout_s:g} s: {rollout.text}. It goes on without "
                "this command; `codegemma cluster status` says what it waits for."
            )
        sleep(POLL_S)


def _conditions(service: Object) -> dict[str, Object]:
    return {one["type"]: one for one in (service.get("status") or {}).get("conditions") or []}


def _applications(part: Object | None) -> dict[str, Object]:
    return (part or {}).get("applicationStatuses") or {}


def _not_running(name: str, application: Object) -> str | None:
    if application.get("status") == "RUNNING":
        return None
    said = f": {application['message']}" if application.get("message") else ""
    return f"application {name} is {application.get('status', 'UNKNOWN')}{said}"


def _last_change(service: Object) -> datetime:
    """When somebody last changed the manifest, by the cluster's clock: warnings before are of an older one."""
    managers = service["metadata"].get("managedFields") or []
    times = [one["time"] for one in managers if one.get("subresource") != "status" and one.get("time")]
    return max(map(datetime.fromisoformat, times), default=datetime.min.replace(tzinfo=UTC))


def _words(condition: Object) -> str:
    said = condition.get("message") or condition.get("reason") or "no reason given"
    return f"{condition['type']} is {condition['status'].lower()}: {said}"
