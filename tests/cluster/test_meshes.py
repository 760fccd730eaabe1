"""`codegemma cluster doctor`: service meshes that would take the pods in."""

from collections.abc import Callable

import pytest

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi


@pytest.mark.parametrize(
    ("of_the_namespace", "of_the_pods", "harm"),
    [
        ({"labels": {"istio-injection": "enabled"}}, {"labels": {"sidecar.istio.io/inject": "false"}}, "mutual TLS"),
        ({"labels": {"istio.io/rev": "canary"}}, {"labels": {"sidecar.istio.io/inject": "false"}}, "mutual TLS"),
        ({"labels": {"istio.io/dataplane-mode": "ambient"}}, {"labels": {"istio.io/dataplane-mode": "none"}}, "15008"),
        (
            {"annotations": {"linkerd.io/inject": "enabled"}},
            {"annotations": {"linkerd.io/inject": "disabled"}},
            "mutual TLS",
        ),
    ],
)
def test_a_service_mesh_that_does_not_leave_the_pods_out(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    of_the_namespace: dict[str, dict[str, str]],
    of_the_pods: dict[str, dict[str, str]],
    harm: str,
) -> None:
    healthy.add("ray.io/v1/rayservices", release.service())
    assert examine()["service mesh"] == [("ok", "namespace codegemma is in none", "")]
    healthy.namespaces["codegemma"] = of_the_namespace
    [(level, text, remedy)] = examine()["service mesh"]
    assert level == "warning" and harm in text
    (where,) = of_the_pods
    ((key, value),) = of_the_pods[where].items()
    assert f'pod{where.capitalize()}: {{{key}: "{value}"}}' in remedy
    service = release.service()
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        group["template"]["metadata"] = of_the_pods
    healthy.add("ray.io/v1/rayservices", service)
    [(level, text, _)] = examine()["service mesh"]
    assert level == "ok" and text.endswith("the pods are left out")
