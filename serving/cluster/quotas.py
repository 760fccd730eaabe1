"""Quotas: whether the namespace's quotas have room for an installation."""

from collections import Counter
from collections.abc import Iterator, Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import QUOTAS
from serving.cluster.needs import NodeNeed


def examine_quotas(cluster: Cluster, needs: Sequence[NodeNeed]) -> Iterator[Finding]:
    """Whether each quota of the namespace has room, for new accelerators too."""
    try:
        quotas = cluster.items(QUOTAS.path(cluster.namespace))
    except ForbiddenError as error:
        yield warning("quota", f"not examined: {error}", "Ask for list of resourcequotas.")
        return
    if not quotas:
        yield ok("quota", f"namespace {cluster.namespace} has none")
    wanted: Counter[str] = Counter()
    for need in needs:
        wanted[f"requests.{need.resource}"] += need.pods * need.per_node
    for quota in quotas:
        yield from _examine(quota, wanted)


def _examine(quota: Object, wanted: Counter[str]) -> Iterator[Finding]:
    from kubernetes.utils.quantity import parse_quantity

    subject = f"quota {quota['metadata']['name']}"
    status = quota.get("status") or {}
    limits, uses = status.get("hard") or quota["spec"].get("hard") or {}, status.get("used") or {}
    roomy = []
    for resource, limit in limits.items():
        used, more = uses.get(resource, "0"), wanted[resource]
        text = f"{resource}: {used} of {limit} used"
        left = parse_quantity(limit) - parse_quantity(used)
        if left < more:
            yield problem(subject, f"{text}, {more} more are wanted", "Ask for more, or lower the replicas.")
        elif left <= 0:
            yield warning(subject, f"{text}: nothing more can start", "Ask for more before you add replicas.")
        else:
            roomy.append(text)
    if roomy:
        yield ok(subject, "; ".join(roomy))
