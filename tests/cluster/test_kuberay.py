"""`codegemma cluster doctor`: the KubeRay operator and the CRDs."""

from collections.abc import Callable

import pytest
import yaml

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests


@pytest.mark.parametrize(
    ("operator", "level", "text"),
    [
        ({"image": "quay.io/kuberay/operator:v1.5.1"}, "ok", "operator:v1.5.1"),
        ({"image": "quay.io/kuberay/operator:v1.4.2"}, "problem", "is too old: authOptions"),
        ({"image": "quay.io/kuberay/operator:nightly"}, "warning", "its tag is no version"),
        ({"ready": "False"}, "problem", "is not ready"),
    ],
)
def test_the_operator(
    healthy: KubernetesApi, examine: Callable[..., Findings], operator: dict[str, str], level: str, text: str
) -> None:
    healthy.add("v1/pods", release.operator(**operator))
    [(found, said, _)] = examine()["KubeRay operator"]
    assert found == level and text in said


def test_an_operator_out_of_sight_is_a_warning(api: KubernetesApi, examine: Callable[..., Findings]) -> None:
    [(level, text, _)] = examine()["KubeRay operator"]
    assert level == "warning" and "no pod of it is visible" in text


def test_a_crd_without_token_authentication_is_too_old(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("rayVersion"))
    assert ("problem", "Update the CRDs") in [(level, remedy[:15]) for level, _, remedy in examine()["RayService"]]


_OPTIONS = {
    "tlsOptions": ({"enabled": True}, "tlsOptions", "RayClusterMTLS"),
    "gcsFaultToleranceOptions": (
        {"backend": "rocksdb", "storage": {"size": "1Gi"}},
        "gcsFaultToleranceOptions.storage",
        "GCSFaultToleranceEmbeddedStorage",
    ),
}


@pytest.mark.parametrize("option", _OPTIONS)
def test_what_came_with_a_newer_kuberay_takes_its_definition_its_operator_and_a_feature_gate(
    healthy: KubernetesApi, examine: Callable[..., Findings], option: str
) -> None:
    setting, field, gate = _OPTIONS[option]
    service = yaml.safe_load(manifests())
    service["spec"]["rayClusterConfig"][option] = setting

    def problems() -> list[str]:
        found = examine("-f", "-", input=manifests(service))
        return [text for name in ("RayService", "KubeRay operator") for level, text, _ in found[name] if level != "ok"]

    older = release.crd("authOptions", "gcsFaultToleranceOptions.redisAddress")
    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", older)
    [definition, operator] = problems()
    assert f"no {field}:" in definition and f"is too old: {field}" in operator and "1.7.0" in operator

    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("authOptions", field))
    image, off = "quay.io/kuberay/operator:v1.7.0", f"--feature-gates=RayMultiHostIndexing=true,{gate}=false"
    healthy.add("v1/pods", release.operator(image, args=["--config", "/etc/config.yaml", off]))
    [operator] = problems()
    assert f"its feature gate {gate} is off" in operator

    healthy.add("v1/pods", release.operator(image, args=[off.replace("false", "true")]))
    assert not problems()
