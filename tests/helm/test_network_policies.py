"""Network policies: who reaches which port."""

import pytest

from tests.helm.chart import CASE, Case, every_case, of_kind, pods, rendered, selects
from tests.helm.containers import containers

_RAY_PARTS = ("head", "gateway", "worker")


@every_case
def test_every_declared_port_is_in_a_network_policy_unless_they_are_off(case: Case) -> None:
    objects = rendered(case)
    policies = of_kind(objects, "NetworkPolicy").values()
    if case.name == "no-network-policy":
        assert not policies
        return
    for name, pod, _ in pods(objects):
        labels = pod["metadata"]["labels"]
        ingress = [
            policy["spec"].get("ingress", [])
            for policy in policies
            if "Ingress" in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], labels)
        ]
        assert [] in ingress, f"{name} is open to all by default"
        named = {port["port"] for rules in ingress for rule in rules for port in rule.get("ports", [])}
        ports = {port["containerPort"] for each in containers(pod) for port in each.get("ports", [])}
        # By the policy that lets our own pods reach each other. 8000 is there for KubeRay; no client is sent to it.
        own_only = {6379, 8000} if name == "head" else set()
        if case.name == "nobody-scrapes":
            own_only |= {8080, 9101, 9902}
        assert ports - named <= own_only, name
        assert named <= ports, f"{name} has ports that are open and not its own"
        if labels["app.kubernetes.io/component"] in _RAY_PARTS:
            assert any(rule.get("from") and "ports" not in rule for rules in ingress for rule in rules), name


@every_case
def test_only_clients_reach_the_service_and_only_operators_the_dashboard(case: Case) -> None:
    for name, policy in of_kind(rendered(case), "NetworkPolicy").items():
        for rule in policy["spec"].get("ingress", []):
            ports = {port["port"] for port in rule.get("ports", [])}
            if ports & {8000, 9000}:
                assert name == "codegemma-clients" and ports == {8000, 9000}
            if 8265 in ports:
                assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "head"
            if ports != {8443}:
                assert rule["from"], f"{name} lets everyone in"


@pytest.mark.parametrize(
    "labels",
    [
        {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/component": "kuberay-operator"},
        {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
    ],
    ids=["by its chart", "by its kustomization"],
)
def test_kuberays_operator_reaches_the_dashboard_however_it_was_installed(labels: dict[str, str]) -> None:
    policy = of_kind(rendered(CASE["demo"]), "NetworkPolicy")["codegemma-operator"]
    (peer,) = policy["spec"]["ingress"][0]["from"]
    assert peer["namespaceSelector"] == {} and selects(peer["podSelector"], labels)


def test_clients_are_those_of_the_values() -> None:
    policy = of_kind(rendered(CASE["network-policy"]), "NetworkPolicy")["codegemma-clients"]
    callers = policy["spec"]["ingress"][0]["from"]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in callers
    assert {"podSelector": {}} not in callers
