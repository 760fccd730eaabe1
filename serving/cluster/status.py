"""Status: the state of a release, read from its RayService, RayClusters, pods and events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.cluster.connection import Cluster, Object
from serving.cluster.drift import Drift, read_drift
from serving.cluster.errors import ForbiddenError
from serving.cluster.events import newest_about, read_warnings
from serving.cluster.kinds import RAY_CLUSTERS
from serving.cluster.needs import accelerators
from serving.cluster.pending import Pending, why_not_created, why_pending
from serving.cluster.queues import Queue, read_queues
from serving.cluster.release import pods_of, service_of
from serving.cluster.rollout import Rollout, rollout_of

_CLUSTER, _GROUP, _HEAD_GROUP = "ray.io/cluster", "ray.io/group", "headgroup"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Serve deployment: the Gateway, or a model's replica groups."""

    cluster: str
    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Group:
    """The pods of one worker group, or of the head.

    Attributes:
      desired: None where the RayCluster may not be read.
      accelerators: of the ready pods, such as `8 google.com/tpu`; empty without any.
    """

    cluster: str
    name: str
    ready: int
    desired: int | None
    nodes: Sequence[str]
    accelerators: str


@dataclass(frozen=True, slots=True)
class Status:
    """A release, now.

    Attributes:
      clusters: RayClusters: `active` and, while a new one takes over, `pending`, to their names.
      drift: what was asked for last, and the RayCluster does not have.
      queues: by model.
      unread: why a pod's metrics could not be read; None if all could.
    """

    release: str
    namespace: str
    rollout: Rollout
    clusters: dict[str, str]
    drift: Drift
    deployments: Sequence[Deployment]
    groups: Sequence[Group]
    queues: dict[str, Queue]
    unread: str | None
    pending: Sequence[Pending]


def read_status(cluster: Cluster, release: str) -> Status:
    """Reads it from the cluster.

    Raises:
      ClusterError: there is no such release, or the user may not see it.
    """
    service = service_of(cluster, release)
    pods = pods_of(cluster, release)
    clusters = _clusters(service)
    queues, unread = read_queues(cluster, pods)
    warnings = read_warnings(cluster)
    groups = [group for name in clusters.values() for group in _groups(cluster, name, pods)]
    pending = [why for pod in pods if (why := why_pending(pod, warnings)) is not None]
    if any(group.desired is not None and group.ready < group.desired for group in groups) or not clusters:
        pending += _not_created(warnings, service["metadata"]["name"], clusters.values())
    return Status(
        release=release,
        namespace=cluster.namespace,
        rollout=rollout_of(service, warnings),
        clusters=clusters,
        drift=read_drift(cluster, service),
        deployments=_deployments(service),
        groups=groups,
        queues=queues,
        unread=unread,
        pending=pending,
    )


def _clusters(service: Object) -> dict[str, str]:
    status = service.get("status") or {}
    parts = {"active": status.get("activeServiceStatus") or {}, "pending": status.get("pendingServiceStatus") or {}}
    return {part: one["rayClusterName"] for part, one in parts.items() if one.get("rayClusterName")}


def _deployments(service: Object) -> list[Deployment]:
    status = service.get("status") or {}
    return [
        Deployment(part["rayClusterName"], name, (one or {}).get("status", "UNKNOWN"), (one or {}).get("message", ""))
        for part in (status.get("activeServiceStatus") or {}, status.get("pendingServiceStatus") or {})
        for application in (part.get("applicationStatuses") or {}).values()
        if application
        for name, one in (application.get("serveDeploymentStatuses") or {}).items()
    ]


def _groups(cluster: Cluster, ray_cluster: str, pods: Sequence[Object]) -> list[Group]:
    desired = _desired(cluster, ray_cluster)
    by_group: dict[str, list[Object]] = {name: [] for name in desired}
    for pod in pods:
        labels = pod["metadata"]["labels"]
        if labels.get(_CLUSTER) == ray_cluster:
            by_group.setdefault(labels.get(_GROUP, "?"), []).append(pod)
    return [_group(ray_cluster, name, members, desired.get(name)) for name, members in by_group.items()]


def _desired(cluster: Cluster, name: str) -> dict[str, int]:
    """How many pods each group of a RayCluster should have; empty where it is not there, or may not be read."""
    try:
        ray_cluster = cluster.find(RAY_CLUSTERS.path(cluster.namespace, name))
    except ForbiddenError:
        return {}
    if ray_cluster is None:
        return {}
    workers = ray_cluster["spec"].get("workerGroupSpecs") or []
    return {_HEAD_GROUP: 1, **{one["groupName"]: _replicas(one) * (one.get("numOfHosts") or 1) for one in workers}}


def _replicas(group: Object) -> int:
    """As KubeRay counts: Ray's autoscaler sets `replicas`, which the least and the most bound."""
    wanted: int = max(group.get("replicas") or 0, group.get("minReplicas") or 0)
    most: int = group.get("maxReplicas", wanted)
    return min(wanted, most)


def _group(ray_cluster: str, name: str, pods: Sequence[Object], desired: int | None) -> Group:
    ready = [pod for pod in pods if _is_ready(pod)]
    totals: dict[str, int] = {}
    for pod in ready:
        for resource, count in accelerators(pod["spec"]).items():
            totals[resource] = totals.get(resource, 0) + count
    return Group(
        cluster=ray_cluster,
        name=name,
        ready=len(ready),
        desired=desired,
        nodes=sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}),
        accelerators=", ".join(f"{count} {resource}" for resource, count in totals.items()),
    )


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _not_created(warnings: Sequence[Object], service: str, clusters: Iterable[str]) -> list[Pending]:
    """Failures to create pods are in events only: the newest of each object counts."""
    owners = [("RayService", service), *(("RayCluster", name) for name in clusters)]
    newest = [newest_about(warnings, *owner) for owner in owners]
    return [why_not_created(event) for event in newest if event is not None]
