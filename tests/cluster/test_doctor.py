"""`codegemma cluster doctor`: all examinations together, and what it is given to examine."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import release
from tests.cluster.conftest import Findings, Run
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests

CHECKOUT = Path(__file__).parents[2]


def test_a_cluster_that_has_everything(healthy: KubernetesApi, cluster: Run) -> None:
    result = cluster("doctor", "-f", "-", input=manifests())
    assert result.exit_code == 0, result.output
    assert "problems: 0, warnings: 0" in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("ok cluster Kubernetes v1.") for line in lines)
    assert "ok KubeRay operator quay.io/kuberay/operator:v1.6.1 in namespace kuberay-system" in lines
    nodes = "2 x google.com/tpu (tpu-v5-lite-podslice 2x4): 4 a node"
    assert f"ok nodes 3 ready, {nodes}" in lines


def test_each_problem_has_a_remedy_and_the_status_is_1(api: KubernetesApi, cluster: Run) -> None:
    del api.resources["ray.io/v1/rayservices"]
    result = cluster("doctor")
    assert result.exit_code == 1
    assert "the cluster does not know rayservices.ray.io" in result.stdout
    assert "helm install kuberay-operator" in " ".join(result.stdout.split())


def test_kinds_of_the_manifests_that_the_cluster_does_not_know(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "m"}}
    [(level, _, remedy)] = examine("-f", "-", input=manifests(monitor))["PodMonitor"]
    assert level == "problem" and remedy.startswith("Install the Prometheus operator")


def test_a_namespace_that_is_missing(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    found = examine("--namespace", "elsewhere")["namespace"]
    assert found == [("problem", "elsewhere does not exist", "Create it: kubectl create namespace elsewhere")]


def test_what_may_not_be_examined_is_a_warning(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    volumes = [
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
    ]
    healthy.add("ray.io/v1/rayservices", release.service(release.worker_group("gateway", 2, volumes=volumes)))
    namespaced = {
        f"GET /api/v1/namespaces/codegemma/{kind}"
        for kind in ("limitranges", "resourcequotas", "secrets", "persistent")
    }
    healthy.forbidden |= {"GET /api/v1/nodes", "GET /api/v1/pods", *namespaced}
    found = examine()
    for subject in ("nodes", "KubeRay operator", "quota", "limit range", "secret keys", "volume claim models"):
        assert [(level, text[:12]) for level, text, _ in found[subject]] == [("warning", "not examined")]


@pytest.mark.parametrize("overlay", sorted((CHECKOUT / "k8s" / "overlays").glob("*")), ids=lambda path: path.name)
def test_the_manifests_of_this_repository_are_understood(
    api: KubernetesApi, examine: Callable[..., Findings], overlay: Path
) -> None:
    command: list[str | Path] = [CHECKOUT / ".helm" / "kubectl", "kustomize", overlay]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = examine("-f", "-", input=rendered)
    assert any(subject.startswith("accelerators of") for subject in found) == (overlay.name != "demo")
    assert any(subject.startswith("secret ") for subject in found)


def test_manifests_and_a_configuration_are_one_too_many(cluster: Run) -> None:
    result = cluster("doctor", "-f", "x.yaml", "--config", "y.yaml")
    assert result.exit_code == 2 and "not both" in result.stderr
