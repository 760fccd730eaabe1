"""Limit ranges: whether the namespace admits pods of these sizes."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import LIMIT_RANGES
from serving.cluster.ray_pods import RayPod, ray_pods

type _Amounts = Mapping[str, Decimal]

_REMEDY = "Ask who runs the cluster for another limit range, or change cpu, memory or ephemeralStorage in the values."


def examine_limit_ranges(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether each limit range of the namespace admits the pods of a RayService; KubeRay tells of it in events only.

    Args:
      cluster: where.
      objects: the RayService among others.
    """
    pods = list(ray_pods(objects))
    try:
        ranges = cluster.items(LIMIT_RANGES.path(cluster.namespace))
    except ForbiddenError as error:
        yield warning("limit range", f"not examined: {error}", "Ask for list of limitranges.")
        return
    for one in ranges if pods else ():
        subject = f"limit range {one['metadata']['name']}"
        wrong = [text for item in one["spec"]["limits"] for pod in pods for text in _wrong(item, pod)]
        yield from (problem(subject, text, _REMEDY) for text in wrong)
        if not wrong:
            yield ok(subject, "admits the pods")


def _wrong(item: Object, pod: RayPod) -> Iterator[str]:
    """The amounts of a pod that an entry of a limit range refuses."""
    if item["type"] == "Container":
        defaults, default_requests = _amounts(item.get("default")), _amounts(item.get("defaultRequest"))
        for container in (*pod.init_containers, *pod.containers):
            who = f"{pod.group}: container {container['name']}"
            requests, limits = _of(container, "requests"), _of(container, "limits")
            for resource in defaults.keys() - limits.keys():
                if requests.get(resource, 0) > defaults[resource]:
                    given = item["default"][resource]
                    yield f"{who} asks for more {resource} than the limit that it would get, {given}"
            yield from _outside(item, who, default_requests | requests, defaults | limits)
    elif item["type"] == "Pod":
        yield from _outside(item, f"{pod.group}: a pod", _total(pod, "requests"), _total(pod, "limits"))


def _outside(item: Object, who: str, requests: _Amounts, limits: _Amounts) -> Iterator[str]:
    """The amounts below the minimum, above the maximum, or too far above the request."""
    for resource, least in _amounts(item.get("min")).items():
        if requests.get(resource, 0) < least:
            yield f"{who} asks for less {resource} than {item['min'][resource]}"
    for resource, most in _amounts(item.get("max")).items():
        if resource not in limits:
            yield f"{who} has no limit of {resource}, and must have one"
        elif limits[resource] > most:
            yield f"{who} may take more {resource} than {item['max'][resource]}"
    for resource, ratio in _amounts(item.get("maxLimitRequestRatio")).items():
        requested, limit = requests.get(resource), limits.get(resource)
        if requested and limit and limit > ratio * requested:
            times = f"{limit / requested:.3g} times the {resource} that it asks for"
            yield f"{who} may take {times}, and {ratio:f} is the most"


def _total(pod: RayPod, what: Literal["requests", "limits"]) -> dict[str, Decimal]:
    """The sum of containers that run together, or the amount of an init container that takes more alone."""
    lasting = [one for one in pod.init_containers if one.get("restartPolicy") == "Always"]
    totals: dict[str, Decimal] = {}
    for container in (*lasting, *pod.containers):
        for resource, amount in _of(container, what).items():
            totals[resource] = totals.get(resource, Decimal(0)) + amount
    for container in pod.init_containers:
        for resource, amount in _of(container, what).items():
            totals[resource] = max(totals.get(resource, amount), amount)
    return totals


def _of(container: Object, what: Literal["requests", "limits"]) -> dict[str, Decimal]:
    """As written, except that the API server sets a missing request to the limit."""
    resources = container.get("resources") or {}
    limits = _amounts(resources.get("limits"))
    return limits if what == "limits" else limits | _amounts(resources.get("requests"))


def _amounts(written: Object | None) -> dict[str, Decimal]:
    from kubernetes.utils.quantity import parse_quantity

    return {resource: parse_quantity(amount) for resource, amount in (written or {}).items()}
