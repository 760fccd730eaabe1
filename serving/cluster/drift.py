"""Drift: settings of worker groups that a RayService has and its RayCluster does not.

KubeRay copies a RayService's `rayClusterConfig` when it makes a RayCluster. Later it compares hashes of both that leave
out the numbers of replicas and, since 1.6, tolerations (`GenerateHashWithoutReplicasAndWorkersToDelete` in its
`controllers/ray/utils/util.go`): a change of these alone never arrives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, ForbiddenError
from serving.cluster.kinds import RAY_CLUSTERS

type Size = Literal["minReplicas", "maxReplicas"]
_SIZES: tuple[Size, ...] = ("minReplicas", "maxReplicas")


@dataclass(frozen=True, slots=True)
class Resize:
    """A size of a worker group that differs.

    Attributes:
      has: what the RayCluster has.
      asked: what the RayService asks for.
    """

    cluster: str
    group: str
    size: Size
    has: int
    asked: int

    def __str__(self) -> str:
        return f"RayCluster {self.cluster}: {self.group}.{self.size} is {self.has}, {self.asked} is asked for"


@dataclass(frozen=True, slots=True)
class Drift:
    """What a RayCluster lacks of what its RayService asks for.

    Attributes:
      untolerated: groups whose pods are to tolerate taints that they do not, `headgroup` for the head's.
    """

    resizes: Sequence[Resize] = ()
    untolerated: Sequence[str] = ()


def read_drift(cluster: Cluster, service: Object) -> Drift:
    """What the newest RayCluster of a RayService lacks; nothing where it is not there, or may not be read."""
    try:
        ray_cluster = _newest(cluster, service)
    except ForbiddenError:
        return Drift()
    if ray_cluster is None:
        return Drift()
    return Drift([resize for _, resize in _resizes(service, ray_cluster)], list(_untolerated(service, ray_cluster)))


def resize(cluster: Cluster, service: Object) -> list[Resize]:
    """Gives the newest RayCluster the sizes that the RayService asks for. Nothing restarts.

    Ray's autoscaler reads them every few seconds, starts pods below a least number, and takes leave of those above a
    most one. A group that has moved to another place meanwhile is a conflict, and nothing is changed.

    Raises:
      ClusterError: there is no RayCluster, or it may not be changed.
    """
    ray_cluster = _newest(cluster, service)
    name = service["metadata"]["name"]
    if ray_cluster is None:
        raise ClusterError(
            f"RayService '{name}' has no RayCluster yet; KubeRay makes it with the sizes that are asked for. "
            "`codegemma cluster status` says how far it is."
        )
    found = list(_resizes(service, ray_cluster))
    if found:
        patch: list[Object] = []
        for index, one in found:
            group = f"/spec/workerGroupSpecs/{index}"
            patch.append({"op": "test", "path": f"{group}/groupName", "value": one.group})
            patch.append({"op": "replace", "path": f"{group}/{one.size}", "value": one.asked})
        cluster.patch(RAY_CLUSTERS.path(cluster.namespace, ray_cluster["metadata"]["name"]), patch)
    return [one for _, one in found]


def _newest(cluster: Cluster, service: Object) -> Object | None:
    """The RayCluster of the newest manifest: the pending one, else the active one."""
    status = service.get("status") or {}
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        name = (status.get(part) or {}).get("rayClusterName")
        if name and (found := cluster.find(RAY_CLUSTERS.path(cluster.namespace, name))) is not None:
            return found
    return None


def _groups(spec: Object) -> dict[str, tuple[int, Object]]:
    """Worker groups with their indices, by name."""
    return {one["groupName"]: (index, one) for index, one in enumerate(spec.get("workerGroupSpecs") or [])}


def _resizes(service: Object, ray_cluster: Object) -> Iterator[tuple[int, Resize]]:
    """The differences, each with its group's index in the RayCluster."""
    has = _groups(ray_cluster["spec"])
    for name, (_, asked) in _groups(service["spec"]["rayClusterConfig"]).items():
        if name not in has:
            continue  # a new group: KubeRay adds it, or makes a new cluster
        index, group = has[name]
        for size in _SIZES:
            if size in asked and size in group and asked[size] != group[size]:
                yield index, Resize(ray_cluster["metadata"]["name"], name, size, group[size], asked[size])


def _untolerated(service: Object, ray_cluster: Object) -> Iterator[str]:
    asked, has = service["spec"]["rayClusterConfig"], ray_cluster["spec"]
    if not _tolerations(asked.get("headGroupSpec")) <= _tolerations(has.get("headGroupSpec")):
        yield "headgroup"
    there = _groups(has)
    for name, (_, group) in _groups(asked).items():
        if name in there and not _tolerations(group) <= _tolerations(there[name][1]):
            yield name


def _tolerations(group: Object | None) -> set[tuple[tuple[str, object], ...]]:
    """As sets: others, such as Kueue, may add theirs. Fields with empty values are the same as none."""
    pod = ((group or {}).get("template") or {}).get("spec") or {}
    return {
        tuple(sorted((key, value) for key, value in one.items() if value not in ("", None)))
        for one in pod.get("tolerations") or []
    }
