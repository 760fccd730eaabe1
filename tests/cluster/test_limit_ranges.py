"""`codegemma cluster doctor`: limit ranges that would refuse pods."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi


def amounts(**limits: str) -> dict[str, Any]:
    return {"name": "ray-worker", "resources": {"requests": limits, "limits": limits}}


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        ({"type": "Container", "max": {"cpu": "16", "memory": "64Gi"}}, []),
        ({"type": "Container", "max": {"cpu": "4"}}, ["chat: container ray-worker may take more cpu than 4"]),
        (
            {"type": "Container", "min": {"memory": "300Mi"}},
            ["chat: container wait-gcs-ready asks for less memory than 300Mi"],
        ),
        # The API server adds a `defaultRequest` to a `min`.
        (
            {
                "type": "Container",
                "min": {"ephemeral-storage": "1Gi", "cpu": "150m"},
                "defaultRequest": {"ephemeral-storage": "1Gi", "cpu": "150m"},
            },
            ["chat: container logs asks for less cpu than 150m"],
        ),
        ({"type": "Container", "default": {"ephemeral-storage": "30Gi"}}, []),
        (
            {"type": "Container", "default": {"ephemeral-storage": "10Gi"}},
            ["chat: container ray-worker asks for more ephemeral-storage than the limit that it would get, 10Gi"],
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}},
            ["chat: container burst may take 8 times the cpu"],
        ),
        ({"type": "Pod", "max": {"cpu": "8100m"}}, []),
        ({"type": "Pod", "max": {"cpu": "8"}}, ["chat: a pod may take more cpu than 8"]),
        ({"type": "Pod", "max": {"ephemeral-storage": "1Ti"}}, ["chat: a pod has no limit of ephemeral-storage, and"]),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, []),
    ],
)
def test_a_limit_range_that_would_refuse_pods(
    healthy: KubernetesApi, examine: Callable[..., Findings], item: dict[str, Any], texts: list[str]
) -> None:
    container = amounts(cpu="8", memory="32Gi")
    container["resources"]["requests"] = {**container["resources"]["limits"], "ephemeral-storage": "20Gi"}
    logs = amounts(cpu="100m", memory="300Mi") | {"name": "logs", "restartPolicy": "Always"}
    burst = {"name": "burst", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "2", "memory": "300Mi"}}}
    service = release.service(release.worker_group("chat", 1, container=container, initContainers=[logs, burst]))
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    head["resources"] = amounts(cpu="2", memory="8Gi", **{"ephemeral-storage": "1Gi"})["resources"]
    healthy.add("ray.io/v1/rayservices", service)
    healthy.add("v1/limitranges", {"metadata": {"name": "team"}, "spec": {"limits": [item]}})
    found = examine()["limit range team"]
    if texts:
        assert [level for level, _, _ in found] == ["problem"] * len(texts)
        assert all(text.startswith(start) for (_, text, _), start in zip(found, texts, strict=True))
    else:
        assert found == [("ok", "admits the pods", "")]
