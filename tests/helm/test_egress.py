"""What the pods of a release may call with networkPolicy.egress, by the rules of NetworkPolicies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest

from tests.helm.chart import CASE, Case, Object, of_kind, pods, rendered, selects


@dataclass(frozen=True)
class Callee:
    """A pod of another namespace, or an address."""

    name: str
    port: int
    address: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_RESOLVERS = (
    Callee("kube-dns", 53, namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    Callee("OpenShift's", 5353, namespace="openshift-dns", labels={"app": "dns"}),
    Callee("GKE's Cloud DNS", 53, address="169.254.169.254"),
    Callee("NodeLocal DNSCache", 53, address="169.254.20.10"),
    Callee("AKS's LocalDNS", 53, address="169.254.10.11"),
)
_API_SERVERS = (
    Callee("GKE's and EKS's API server", 443, address="172.16.0.2"),
    Callee("kubeadm's and OpenShift's API server", 6443, address="192.0.2.10"),
)
_METADATA_SERVERS = (
    Callee("GKE's metadata server", 988, address="169.254.169.252"),
    Callee("GKE's metadata server with Dataplane V2", 80, address="169.254.169.254"),
    Callee("EKS's pod identity agent", 80, address="169.254.170.23"),
)
_OTHERS = (
    Callee("another resolver", 53, address="8.8.8.8"),
    Callee("a pod of another namespace", 8000, namespace="default", labels={"app": "other"}),
    Callee("kube-system's other ports", 10250, namespace="kube-system"),
)


def _may_call(case: Case, name: str, callee: Callee, protocol: str = "TCP") -> bool:
    """Whether any policy that holds for a pod opens this."""
    objects = rendered(case)
    (labels,) = (pod["metadata"]["labels"] for each, pod, _ in pods(objects) if each == name)
    policies = [
        each["spec"]
        for each in of_kind(objects, "NetworkPolicy").values()
        if "Egress" in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], labels)
    ]
    assert policies, f"{name} may call everything"
    rules = [rule for policy in policies for rule in policy["egress"]]
    return any(_has_port(rule, callee.port, protocol) and _has_peer(rule, callee) for rule in rules)


def _has_port(rule: Object, port: int, protocol: str) -> bool:
    return "ports" not in rule or {"port": port, "protocol": protocol} in rule["ports"]


def _has_peer(rule: Object, callee: Callee) -> bool:
    return "to" not in rule or any(_is_peer(peer, callee) for peer in rule["to"])


def _is_peer(peer: Object, callee: Callee) -> bool:
    if "ipBlock" in peer:
        return bool(callee.address) and ip_address(callee.address) in ip_network(peer["ipBlock"]["cidr"])
    if "namespaceSelector" not in peer or not callee.namespace:
        return False  # only pods of the release's own namespace
    namespace = {"kubernetes.io/metadata.name": callee.namespace}
    return selects(peer["namespaceSelector"], namespace) and selects(peer.get("podSelector", {}), callee.labels)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize("resolver", _RESOLVERS, ids=str)
def test_every_pod_reaches_its_resolver_wherever_that_is(resolver: Callee, protocol: str) -> None:
    for name in ("head", "gateway", "gpu"):
        assert _may_call(CASE["egress"], name, resolver, protocol)


@pytest.mark.parametrize("server", _API_SERVERS, ids=str)
def test_the_autoscaler_reaches_the_kubernetes_api_and_no_other_pod_does(server: Callee) -> None:
    assert _may_call(CASE["egress"], "head", server)
    assert not any(_may_call(CASE["egress"], name, server) for name in ("gateway", "gpu"))


def test_the_kubernetes_api_can_be_narrowed_to_its_addresses() -> None:
    elsewhere, control_plane = _API_SERVERS[0], Callee("control plane", 443, address="203.0.113.7")
    assert _may_call(CASE["egress-narrow"], "head", control_plane)
    assert not _may_call(CASE["egress-narrow"], "head", elsewhere)


@pytest.mark.parametrize("server", _METADATA_SERVERS, ids=str)
def test_pods_ask_the_metadata_server_only_for_the_identity_that_opens_a_bucket(server: Callee) -> None:
    for name in ("gateway", "gpu"):
        for case in ("egress-gcs-fuse", "egress-copy", "egress-annotations"):
            assert _may_call(CASE[case], name, server), case
        for case in ("egress", "egress-copy-secret"):
            assert not _may_call(CASE[case], name, server), case
    assert not _may_call(CASE["egress-gcs-fuse"], "head", server)


@pytest.mark.parametrize("other", _OTHERS, ids=str)
def test_pods_reach_nothing_else(other: Callee) -> None:
    for name in ("head", "gateway", "gpu"):
        assert not _may_call(CASE["egress-gcs-fuse"], name, other)


_HUB = Callee("a hub", 443, address="198.51.100.7")
_PROXY = Callee("a proxy", 443, address="203.0.113.8")


def test_downloads_reach_where_checkpoints_come_from_and_resolvers_and_no_other_pod_does() -> None:
    for name in ("codegemma-download-fim", "codegemma-download-chat"):
        assert _may_call(CASE["egress-download"], name, _HUB)
        assert all(_may_call(CASE["egress-download"], name, resolver, "UDP") for resolver in _RESOLVERS)
        assert all(_may_call(CASE["egress-download"], name, server) for server in _METADATA_SERVERS)
    assert not any(_may_call(CASE["egress-download"], name, _HUB) for name in ("gateway", "gpu"))


def test_downloads_can_be_narrowed_to_a_proxy_and_ask_for_no_identity_that_they_do_not_need() -> None:
    case, name = CASE["egress-download-secret"], "codegemma-download-fim"
    assert _may_call(case, name, _PROXY) and not _may_call(case, name, _HUB)
    assert not any(_may_call(case, name, server) for server in _METADATA_SERVERS)


@pytest.mark.parametrize("server", _METADATA_SERVERS, ids=str)
def test_what_compiles_from_a_bucket_asks_for_the_identity_that_opens_it(server: Callee) -> None:
    assert _may_call(CASE["compile-gcs-fuse"], "codegemma-compile-tpu", server)
