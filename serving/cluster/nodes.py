"""Nodes: which accelerators they have, and whether those are enough."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import CONFIG_MAPS, NODES, PODS
from serving.cluster.needs import ACCELERATORS, TPU_KIND, TPU_TOPOLOGY, NodeNeed, accelerators

_NODE_POOL = "cloud.google.com/gke-nodepool"
"""Of TPU nodes with several hosts to a slice, the nodes of one pool are one slice."""
_GPU_KIND = "cloud.google.com/gke-accelerator"
_AUTOSCALER_STATUS = CONFIG_MAPS.path("kube-system", "cluster-autoscaler-status")


@dataclass
class _Node:
    """A node that takes pods.

    Attributes:
      free: accelerators that no pod outside the release has, by resource.
    """

    labels: dict[str, str]
    free: Counter[str]


def examine_nodes(cluster: Cluster, needs: Sequence[NodeNeed], release: str) -> Iterator[Finding]:
    """What accelerators there are, and whether each need is met once all earlier ones are.

    Pods of the release itself do not count as taking room: it is theirs already.
    """
    try:
        objects = cluster.items(NODES.path())
    except ForbiddenError as error:
        yield warning("nodes", f"not examined: {error}", "Ask for get and list of nodes, or whom to ask for them.")
        return
    nodes = {one["metadata"]["name"]: _node(one) for one in objects if _takes_pods(one)}
    yield _summary(list(nodes.values()))
    if not needs:
        return
    try:
        theirs = [pod for pod in cluster.items(PODS.path()) if not _is_ours(pod, cluster.namespace, release)]
        _take(nodes, theirs)
    except ForbiddenError:
        yield warning(
            "nodes",
            "pods of other namespaces may not be listed: accelerators that they hold count as free",
            "Ask for list of pods in all namespaces, to be sure.",
        )
    grows = _grows(cluster)
    for need in needs:
        yield _examine(need, list(nodes.values()), grows)


def examine_upgrade(cluster: Cluster, needs: Sequence[NodeNeed]) -> Iterator[Finding]:
    """Whether a second cluster has room beside the one that runs, as KubeRay starts it when pods change.

    What the user may not list is a finding of `examine_nodes`.
    """
    if not needs or _grows(cluster):
        return
    try:
        nodes = {one["metadata"]["name"]: _node(one) for one in cluster.items(NODES.path()) if _takes_pods(one)}
        _take(nodes, cluster.items(PODS.path()))
    except ForbiddenError:
        return
    rooms = [(need, _take_room(need, _matching(need, nodes.values()))) for need in needs]
    short = [f"{need}, and there is room for {room}" for need, room in rooms if room < need.pods]
    if short:
        yield warning(
            "upgrade",
            f"changed pods start in a second cluster beside this one, which would wait for {'; '.join(short)}",
            "Free some or add nodes before. Or set ray.upgradeStrategy: None, and delete the RayService first.",
        )
    else:
        yield ok("upgrade", "a second cluster has room beside this one")


def _takes_pods(node: Object) -> bool:
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or [])
    return ready and not node["spec"].get("unschedulable")


def _node(node: Object) -> _Node:
    allocatable = node["status"].get("allocatable") or {}
    free = Counter({name: int(allocatable[name]) for name in ACCELERATORS if name in allocatable})
    return _Node(node["metadata"].get("labels") or {}, free)


def _is_ours(pod: Object, namespace: str, release: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return pod["metadata"]["namespace"] == namespace and labels.get("app.kubernetes.io/instance") == release


def _take(nodes: dict[str, _Node], pods: Iterable[Object]) -> None:
    for pod in pods:
        where = pod["spec"].get("nodeName")
        if where in nodes and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            nodes[where].free.subtract(accelerators(pod["spec"]))


def _matching(need: NodeNeed, nodes: Iterable[_Node]) -> list[_Node]:
    return [node for node in nodes if need.selector.items() <= node.labels.items()]


def _summary(nodes: Collection[_Node]) -> Finding:
    kinds = Counter(
        f"{resource}{f' ({kind})' if (kind := _kind(node)) else ''}: {count} a node"
        for node in nodes
        for resource, count in node.free.items()
    )
    found = "; ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    return ok("nodes", f"{len(nodes)} ready, {found or 'none with TPUs or GPUs'}")


def _kind(node: _Node) -> str:
    return " ".join(node.labels[key] for key in (TPU_KIND, TPU_TOPOLOGY, _GPU_KIND) if key in node.labels)


def _grows(cluster: Cluster) -> bool:
    """Whether a cluster autoscaler adds nodes: then a kind without nodes may get some."""
    try:
        return cluster.find(_AUTOSCALER_STATUS) is not None
    except ForbiddenError:
        return False


def _examine(need: NodeNeed, nodes: list[_Node], grows: bool) -> Finding:
    subject = f"accelerators of {need.name}"
    matching = _matching(need, nodes)
    room = _take_room(need, matching)
    if room >= need.most_pods:
        return ok(subject, f"{need}: there is room for {room}")
    if room >= need.pods:
        most = f"autoscaling may want {need.most_pods}, there is room for {room} now"
        return ok(subject, f"{need}: {most}") if grows else warning(subject, f"{need}: {most}", _more_nodes(need))
    if any(need.resource in node.free for node in matching):
        missing = f"{need}: there is room for {room}"
    else:
        missing = f"{need}: no node has {need.resource} and these labels"
    if grows:
        return warning(subject, missing, "The cluster's autoscaler must add the rest: check its node pools' limits.")
    return problem(subject, missing, _more_nodes(need))


def _take_room(need: NodeNeed, nodes: list[_Node]) -> int:
    """How many pods there is room for; subtracts the room of the pods needed."""
    slices: dict[str, list[_Node]] = {}
    for node in nodes:
        slices.setdefault(node.labels.get(_NODE_POOL, "") if need.hosts > 1 else "", []).append(node)
    room = 0
    for members in slices.values():
        places = [node for node in members for _ in range(max(node.free[need.resource], 0) // need.per_node)]
        whole = len(places) // need.hosts * need.hosts
        for node in places[: min(whole, max(need.pods - room, 0))]:
            node.free[need.resource] -= need.per_node
        room += whole
    return room


def _more_nodes(need: NodeNeed) -> str:
    if need.resource == "google.com/tpu" and TPU_TOPOLOGY in need.selector:
        return (
            f"Add a TPU node pool of topology {need.selector[TPU_TOPOLOGY]}, or free or enlarge the one there is "
            "(on GKE: gcloud container node-pools create, with the machine type of that topology)."
        )
    return f"Add nodes with {need.per_node} or more {need.resource} each, or free some, or lower the replicas."
