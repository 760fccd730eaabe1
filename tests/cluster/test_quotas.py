"""`codegemma cluster doctor`: resource quotas of the namespace."""

from collections.abc import Callable

import pytest

from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests


@pytest.mark.parametrize(
    ("hard", "used", "level", "text"),
    [
        ("16", "8", "ok", "requests.google.com/tpu: 8 of 16 used"),
        ("16", "12", "problem", "requests.google.com/tpu: 12 of 16 used, 8 more are wanted"),
    ],
)
def test_quotas(
    healthy: KubernetesApi, examine: Callable[..., Findings], hard: str, used: str, level: str, text: str
) -> None:
    key = "requests.google.com/tpu"
    healthy.add("v1/resourcequotas", {"metadata": {"name": "q"}, "status": {"hard": {key: hard}, "used": {key: used}}})
    assert examine("-f", "-", input=manifests())["quota q"][0][:2] == (level, text)


def test_a_quota_that_is_used_up_is_a_warning(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    full = {"hard": {"limits.memory": "1Gi", "pods": "50"}, "used": {"limits.memory": "1024Mi", "pods": "3"}}
    healthy.add("v1/resourcequotas", {"metadata": {"name": "q"}, "status": full})
    assert [(level, text) for level, text, _ in examine()["quota q"]] == [
        ("warning", "limits.memory: 1024Mi of 1Gi used: nothing more can start"),
        ("ok", "pods: 3 of 50 used"),
    ]
