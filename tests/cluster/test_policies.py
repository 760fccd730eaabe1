"""`codegemma cluster doctor`: network policies that let KubeRay's operator reach the head, or do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests

CHECKOUT = Path(__file__).parents[2]


def operator_policy(*peers: dict[str, Any], port: Any = 8265, **changes: Any) -> dict[str, Any]:
    """A policy that guards the head, and lets these reach the dashboard."""
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/instance": "codegemma", "ray.io/node-type": "head"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": list(peers), "ports": [{"protocol": "TCP", "port": port}]}],
    }
    return {"metadata": {"name": "codegemma-operator"}, "spec": spec | changes}


ANY_NAMESPACE = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
}


ITS_NAMESPACE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}}


@pytest.fixture
def guarded(healthy: KubernetesApi) -> KubernetesApi:
    """The cluster with a release whose pods nothing may reach."""
    service = release.service()
    labels = {"app.kubernetes.io/instance": "codegemma", "app.kubernetes.io/component": "head"}
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["metadata"] = {"labels": labels}
    healthy.add("ray.io/v1/rayservices", service)
    ours = {"matchLabels": {"app.kubernetes.io/instance": "codegemma"}}
    deny = {"metadata": {"name": "codegemma-deny"}, "spec": {"podSelector": ours, "policyTypes": ["Ingress"]}}
    healthy.add("networking.k8s.io/v1/networkpolicies", deny)
    return healthy


@pytest.mark.parametrize(
    "policy",
    [
        operator_policy(ANY_NAMESPACE),
        operator_policy(ITS_NAMESPACE),
        operator_policy(ANY_NAMESPACE, port="dashboard"),
        operator_policy({"ipBlock": {"cidr": "10.0.0.0/28"}}),
        operator_policy(),
        operator_policy(ANY_NAMESPACE, ingress=[{"from": [ANY_NAMESPACE]}]),
    ],
)
def test_policies_that_let_the_operator_reach_the_head(
    guarded: KubernetesApi, examine: Callable[..., Findings], policy: dict[str, Any]
) -> None:
    guarded.add("networking.k8s.io/v1/networkpolicies", policy)
    assert [level for level, _, _ in examine()["network policies"]] == ["ok"]


@pytest.mark.parametrize(
    "policy",
    [
        operator_policy({"podSelector": {}}),  # of the release's own namespace
        operator_policy(ANY_NAMESPACE, port=8000),
        operator_policy({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}),
        operator_policy(ANY_NAMESPACE, podSelector={"matchLabels": {"ray.io/node-type": "worker"}}),
    ],
)
def test_policies_that_do_not(guarded: KubernetesApi, examine: Callable[..., Findings], policy: dict[str, Any]) -> None:
    guarded.add("networking.k8s.io/v1/networkpolicies", policy)
    [(level, text, remedy)] = examine()["network policies"]
    assert level == "warning" and "no pod of KubeRay's operator is visible that they let reach port 8265" in text
    assert "networkPolicy.operator" in remedy and "ipBlock" in remedy


def test_an_operator_out_of_sight_of_the_policies_is_a_warning(
    guarded: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    del guarded.objects["v1/pods", "kuberay-system", "kuberay-operator-0"]
    guarded.add("networking.k8s.io/v1/networkpolicies", operator_policy(ANY_NAMESPACE))
    [(level, text, remedy)] = examine()["network policies"]
    assert level == "warning" and text.startswith("codegemma-deny, codegemma-operator: ")
    assert "let in the pods k8s-app=konnectivity-agent of kube-system" in remedy
    tunnel = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "konnectivity-agent"}},
    }
    guarded.add("networking.k8s.io/v1/networkpolicies", operator_policy(tunnel))
    assert examine()["network policies"][0][0] == "ok"


def test_policies_to_be_installed_count_as_well(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["metadata"] = {
        "labels": {"app.kubernetes.io/instance": "codegemma"}
    }
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"} | operator_policy({"podSelector": {}})
    assert examine("-f", "-", input=manifests(service, policy))["network policies"][0][0] == "warning"
    policy["spec"] = operator_policy(ITS_NAMESPACE)["spec"]
    assert examine("-f", "-", input=manifests(service, policy))["network policies"][0][0] == "ok"


@pytest.mark.parametrize("name", ["kuberay-operator", "kuberay"], ids=["by its chart", "by its kustomization"])
def test_policies_of_this_repository_let_in_the_operator_however_it_was_installed(
    healthy: KubernetesApi, examine: Callable[..., Findings], name: str
) -> None:
    healthy.add("v1/pods", release.operator(name=name))
    files = [*(CHECKOUT / "k8s" / "base").glob("*.yaml"), *(CHECKOUT / "k8s" / "overlays" / "gpu").glob("*.yaml")]
    rendered = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    assert examine("-f", "-", input="\n---\n".join(rendered))["network policies"][0][0] == "ok"
    del healthy.objects["v1/pods", "kuberay-system", "kuberay-operator-0"]
    assert examine("-f", "-", input="\n---\n".join(rendered))["network policies"][0][0] == "warning"


def test_policies_that_may_not_be_listed_are_a_warning(
    guarded: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    guarded.forbidden.add("GET /apis/networking.k8s.io/v1/namespaces/codegemma/networkpolicies")
    assert [(level, text[:12]) for level, text, _ in examine()["network policies"]] == [("warning", "not examined")]
