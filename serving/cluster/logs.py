"""Logs: the lines of all containers of a release, in one stream."""

import heapq
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError
from serving.cluster.kinds import PODS

_LOOK_AGAIN_S = 5.0
"""Seconds between looks for new pods while following."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Container:
    """A container that has logs; `str` is how its lines are marked."""

    pod: str
    name: str
    alone: bool

    def __str__(self) -> str:
        return self.pod if self.alone else f"{self.pod}/{self.name}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log."""

    container: Container
    text: str


def seconds(duration: str) -> int:
    """Seconds of `30s`, `10m`, `2h` or `1d`.

    Raises:
      ValueError: it is none of these.
    """
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration. Say for example 30s, 10m, 2h or 1d.")
    return int(found[1]) * _UNITS[found[2]]


def containers_of(pods: Sequence[Object], group: str | None = None) -> list[Container]:
    """The containers that have started, of all pods or of one Ray group.

    Also those that prepare a pod, and those that Kubernetes runs beside it under the same name: the chart's `logs`.
    """
    started: list[Container] = []
    for pod in pods:
        if group is not None and pod["metadata"]["labels"].get("ray.io/group") != group:
            continue
        status = pod.get("status") or {}
        statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        names = [one["name"] for one in statuses if "waiting" not in (one.get("state") or {})]
        alone = len(pod["spec"]["containers"]) + len(pod["spec"].get("initContainers") or []) == 1
        started += [Container(pod["metadata"]["name"], name, alone) for name in names]
    return started


def read_logs(cluster: Cluster, containers: Sequence[Container], since_s: int) -> Iterator[Line]:
    """The containers' lines of the last seconds, by time."""
    logs = [_stamped(cluster, container, since_s) for container in containers]
    return (Line(container, text) for _, container, text in heapq.merge(*logs, key=lambda line: line[0]))


def _stamped(cluster: Cluster, container: Container, since_s: int) -> list[tuple[str, Container, str]]:
    query = {"container": container.name, "sinceSeconds": str(since_s), "timestamps": "true"}
    text = cluster.text(PODS.path(cluster.namespace, container.pod, "log"), **query)
    stamped = [line.partition(" ") for line in text.splitlines()]
    return [(time, container, rest) for time, _, rest in stamped]


def follow_logs(cluster: Cluster, find: Callable[[], Sequence[Container]], since_s: int) -> Iterator[Line]:
    """The containers' lines, as they come, until all have ended.

    Args:
      cluster: where they are.
      find: names the containers; asked again from time to time, for new pods.
      since_s: how far back to begin.
    """
    said: SimpleQueue[Line | Container | ClusterError] = SimpleQueue()
    followed: set[Container] = set()
    running, look = 0, 0.0
    while True:
        if time.monotonic() >= look:
            new = [container for container in find() if container not in followed]
            for container in new:
                threading.Thread(target=_follow, args=(cluster, container, since_s, said), daemon=True).start()
            followed.update(new)
            running, look = running + len(new), time.monotonic() + _LOOK_AGAIN_S
        if not running:
            return
        try:
            item = said.get(timeout=max(look - time.monotonic(), 0))
        except Empty:
            continue
        match item:
            case Line():
                yield item
            case Container():
                running -= 1
            case ClusterError():
                raise item


def _follow(
    cluster: Cluster, container: Container, since_s: int, said: "SimpleQueue[Line | Container | ClusterError]"
) -> None:
    """Puts the container's lines, then the container itself; an error if not even the first line came."""
    query = {"container": container.name, "sinceSeconds": str(since_s), "follow": "true"}
    began = False
    try:
        for text in cluster.lines(PODS.path(cluster.namespace, container.pod, "log"), **query):
            said.put(Line(container, text))
            began = True
    except ClusterError as error:
        if not began:
            said.put(error)
            return
        said.put(Line(container, f"(no more: {error})"))  # such as its node being lost: the others go on
    said.put(container)
