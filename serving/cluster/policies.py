"""Policies: whether NetworkPolicies let KubeRay's operator reach Ray's dashboard, through which it deploys."""

from collections.abc import Iterator, Mapping, Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, warning
from serving.cluster.kinds import NAMESPACES, NETWORK_POLICIES
from serving.cluster.kuberay import operator_pods
from serving.cluster.selectors import selects

_DASHBOARD = 8265
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""A label that Kubernetes puts on each namespace."""
_OF_KUBERAY = {
    "app.kubernetes.io/created-by": "kuberay-operator",
    "app.kubernetes.io/name": "kuberay",
    "ray.io/is-ray-node": "yes",
}
_OF_HEADS = {"ray.io/group": "headgroup", "ray.io/node-type": "head"}
"""KubeRay's labels; a template may override the former, but not these."""
_TUNNEL = {"metadata": {"namespace": "kube-system", "labels": {"k8s-app": "konnectivity-agent"}}}
"""The pods from which GKE's API server connects; its managed operator has no pod and calls through the API server."""


def examine_policies(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the policies that guard the head of a RayService let the operator in.

    Args:
      cluster: where; its policies count too, for another one may open what one closes.
      objects: RayServices, and policies to be.
    """
    policies = {one["metadata"]["name"]: one for one in objects if one["kind"] == "NetworkPolicy"}
    try:
        policies = {one["metadata"]["name"]: one for one in _installed(cluster)} | policies
    except ForbiddenError as error:
        yield warning("network policies", f"not examined: {error}", "Ask for list of networkpolicies.")
    for service in (one for one in objects if one["kind"] == "RayService"):
        labels = _head_labels(service)
        guards = [policy for policy in policies.values() if _guards(policy, labels)]
        if guards:
            yield _examine(cluster, guards)


def _installed(cluster: Cluster) -> list[Object]:
    return cluster.items(NETWORK_POLICIES.path(cluster.namespace))


def _head_labels(service: Object) -> dict[str, str]:
    metadata = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"].get("metadata") or {}
    return _OF_KUBERAY | (metadata.get("labels") or {}) | _OF_HEADS


def _guards(policy: Object, labels: Mapping[str, str]) -> bool:
    spec = policy["spec"]
    return "Ingress" in spec.get("policyTypes", ["Ingress"]) and selects(spec.get("podSelector") or {}, labels)


def _examine(cluster: Cluster, guards: Sequence[Object]) -> Finding:
    subject = "network policies"
    rules = [rule for policy in guards for rule in policy["spec"].get("ingress") or [] if _is_for_dashboard(rule)]
    peers = [peer for rule in rules for peer in rule.get("from") or []]
    if not all(rule.get("from") for rule in rules):
        return ok(subject, f"everyone may reach port {_DASHBOARD} of Ray's head")
    if any("ipBlock" in peer for peer in peers):  # of an operator out of sight; its address is not to be seen here
        return ok(subject, f"a range of addresses may reach port {_DASHBOARD} of Ray's head")
    operators = _operators(cluster)
    if any(_lets_in(cluster, peer, pod) for pod in operators for peer in peers):
        return ok(subject, f"KubeRay's operator may reach port {_DASHBOARD} of Ray's head")
    if not operators and any(_lets_in(cluster, peer, _TUNNEL) for peer in peers):
        return ok(subject, f"a managed operator may reach port {_DASHBOARD} of Ray's head through GKE's API server")
    names = ", ".join(policy["metadata"]["name"] for policy in guards)
    return warning(
        subject,
        f"{names}: no pod of KubeRay's operator is visible that they let reach port {_DASHBOARD} of Ray's head; "
        "without it nothing is deployed",
        "Set networkPolicy.operator in the chart's values to where the operator runs. GKE's add-on has no pod here, it "
        "asks through the API server: let in the pods k8s-app=konnectivity-agent of kube-system, or an ipBlock.",
    )


def _is_for_dashboard(rule: Object) -> bool:
    return any(_is_dashboard(port) for port in rule.get("ports") or [{}])


def _is_dashboard(port: Object) -> bool:
    if port.get("protocol", "TCP") != "TCP":
        return False
    first = port.get("port", _DASHBOARD)
    if isinstance(first, str):
        return first == "dashboard"  # the name that KubeRay, too, looks for
    return int(first) <= _DASHBOARD <= int(port.get("endPort") or first)


def _operators(cluster: Cluster) -> list[Object]:
    try:
        return operator_pods(cluster)
    except ForbiddenError:
        return []


def _lets_in(cluster: Cluster, peer: Object, pod: Object) -> bool:
    if not selects(peer.get("podSelector") or {}, pod["metadata"].get("labels") or {}):
        return False
    namespace = pod["metadata"]["namespace"]
    if "namespaceSelector" not in peer:
        return bool(namespace == cluster.namespace)
    return selects(peer["namespaceSelector"] or {}, _namespace_labels(cluster, namespace))


def _namespace_labels(cluster: Cluster, name: str) -> dict[str, str]:
    try:
        there = cluster.find(NAMESPACES.path(name=name)) or {"metadata": {}}
    except ForbiddenError:
        there = {"metadata": {}}
    return {_NAMESPACE_NAME: name} | (there["metadata"].get("labels") or {})
