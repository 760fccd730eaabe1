"""Queues: how much work waits and runs, by model, as the release's pods count it themselves."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, SilentError
from serving.cluster.kinds import PODS

_METRICS_PORT = 8080
_COUNTED = {
    "ray_codegemma_waiting_requests": "waiting",
    "ray_codegemma_queue_depth": "queued",
    "ray_codegemma_running_requests": "running",
    "ray_codegemma_ready_groups": "groups",
}
_AT_ONCE = 8
_ANSWER_S = 2.0
"""Long enough for a pod that answers. Where a network policy drops what the API server sends, nothing ever comes."""


@dataclass(slots=True)
class Queue:
    """The work of one model.

    Attributes:
      waiting: requests in Gateways, for a group with room.
      queued: requests in groups, for a row.
      running: requests that have a row.
      groups: replica groups in service, as the Gateway that sees most of them says.
    """

    waiting: int = 0
    queued: int = 0
    running: int = 0
    groups: int = 0


def read_queues(cluster: Cluster, pods: Iterable[Object]) -> tuple[dict[str, Queue], str | None]:
    """Reads the metrics of running Ray pods through the API server's proxy.

    Returns:
      The queues by model, and which pods could not be read and why, or None if all could.
    """
    names = [
        pod["metadata"]["name"]
        for pod in pods
        if (pod.get("status") or {}).get("phase") == "Running" and "ray.io/cluster" in pod["metadata"]["labels"]
    ]
    queues: dict[str, Queue] = defaultdict(Queue)
    failures: dict[str, ClusterError] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, metrics in zip(names, pool.map(lambda name: _metrics(cluster, name), names), strict=True):
            if isinstance(metrics, ClusterError):
                failures[name] = metrics
            else:
                _count(metrics, queues)
    return dict(sorted(queues.items())), _failure(failures)


def _metrics(cluster: Cluster, pod: str) -> str | ClusterError:
    try:
        path = PODS.path(cluster.namespace, f"{pod}:{_METRICS_PORT}", "proxy/metrics")
        return cluster.text(path, _ANSWER_S)
    except SilentError:
        return SilentError(
            f"no answer within {_ANSWER_S:g} s; a network policy or firewall may keep the API server from port "
            f"{_METRICS_PORT}"
        )
    except ClusterError as error:
        return error


def _failure(failures: Mapping[str, ClusterError]) -> str | None:
    if not failures:
        return None
    (name, error), *others = failures.items()
    return f"{name}{f' and {len(others)} more' if others else ''}: {error}"


def _count(metrics: str, queues: dict[str, Queue]) -> None:
    for family in text_string_to_metric_families(metrics):
        field = _COUNTED.get(family.name)
        if field is None:
            continue
        for sample in family.samples:
            queue, value = queues[sample.labels["model"]], int(sample.value)
            # Each Gateway sees all groups; everything else is counted where it is.
            setattr(queue, field, max(queue.groups, value) if field == "groups" else getattr(queue, field) + value)
