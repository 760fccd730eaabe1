"""Queues: how much work waits and runs, by model, from the metrics of the release's pods."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, SilentError
from serving.cluster.kinds import PODS
from serving.telemetry.metrics import QUEUE_DEPTH, READY_GROUPS, RUNNING_REQUESTS, WAITING_REQUESTS
from serving.telemetry.scrape import Scrape

_METRICS_PORT = 8080
_AT_ONCE = 8
_ANSWER_S = 2.0
"""Long enough for a pod that answers; if a network policy drops the request, no answer ever comes."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The work of one model.

    Attributes:
      waiting: requests in Gateways, for a group with room.
      queued: requests in groups, for a row.
      running: requests that have a row.
      groups: replica groups in service, as the Gateway that sees most of them says.
    """

    waiting: int
    queued: int
    running: int
    groups: int


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
    texts: list[str] = []
    failures: dict[str, ClusterError] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, metrics in zip(names, pool.map(lambda name: _metrics(cluster, name), names), strict=True):
            if isinstance(metrics, ClusterError):
                failures[name] = metrics
            else:
                texts.append(metrics)
    return _queues(Scrape.parse(texts, at=0.0)), _failure(failures)


def _queues(scrape: Scrape) -> dict[str, Queue]:
    gauges = (WAITING_REQUESTS, QUEUE_DEPTH, RUNNING_REQUESTS, READY_GROUPS)
    return {
        model: Queue(
            waiting=int(scrape.total(WAITING_REQUESTS, model=model)),
            queued=int(scrape.total(QUEUE_DEPTH, model=model)),
            running=int(scrape.total(RUNNING_REQUESTS, model=model)),
            groups=int(scrape.most(READY_GROUPS, model=model)),  # each Gateway counts all of them
        )
        for model in sorted(set().union(*(scrape.names(gauge, "model") for gauge in gauges)))
    }


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
