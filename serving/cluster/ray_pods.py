"""RayPod: the pods that KubeRay makes of a RayService."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from serving.cluster.connection import Object

_WAITING = {"cpu": "200m", "memory": "256Mi"}
_WAITS = {"name": "wait-gcs-ready", "resources": {"requests": _WAITING, "limits": _WAITING}}
"""KubeRay's own init container of workers, which waits for the head (its `common/pod.go`)."""


@dataclass(frozen=True, slots=True)
class RayPod:
    """The pods of the head or of a worker group.

    Attributes:
      group: `headgroup`, or the worker group's name.
      metadata: labels and annotations, as far as the RayService has them.
      init_containers: those that run before the others, or beside them for good; KubeRay's too.
      containers: those that run at once; KubeRay's too.
    """

    group: str
    metadata: Object
    init_containers: Sequence[Object]
    containers: Sequence[Object]


def ray_pods(objects: Iterable[Object]) -> Iterator[RayPod]:
    """The pods of all RayServices among objects, the head's first."""
    for service in (one for one in objects if one["kind"] == "RayService"):
        cluster = service["spec"]["rayClusterConfig"]
        options = cluster.get("autoscalerOptions") or {}
        autoscaler = [{"name": "autoscaler", "resources": options["resources"]}] if options.get("resources") else []
        yield _pod("headgroup", cluster["headGroupSpec"]["template"], beside=autoscaler)
        for group in cluster.get("workerGroupSpecs") or []:
            yield _pod(group["groupName"], group["template"], before=[_WAITS])


def _pod(group: str, template: Object, before: Sequence[Object] = (), beside: Sequence[Object] = ()) -> RayPod:
    return RayPod(
        group,
        template.get("metadata") or {},
        [*(template["spec"].get("initContainers") or []), *before],
        [*(template["spec"].get("containers") or []), *beside],
    )
