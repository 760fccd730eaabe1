"""`codegemma cluster doctor`: secrets and volume claims that pods mount."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests


def test_secrets_and_claims_of_the_installed_release(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = release.service(
        release.worker_group(
            "gateway",
            2,
            volumes=[
                {"name": "keys", "secret": {"secretName": "keys"}},
                {"name": "maybe", "secret": {"secretName": "maybe", "optional": True}},
                {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
            ],
            imagePullSecrets=[{"name": "registry"}],
        )
    )
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"] = {"redisPassword": password}
    healthy.add("ray.io/v1/rayservices", service)
    healthy.add("v1/secrets", {"metadata": {"name": "keys"}, "data": {"keys.yaml": ""}})
    healthy.add("v1/secrets", {"metadata": {"name": "redis"}, "data": {"pass": ""}})
    healthy.add("v1/persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": {}, "status": {"phase": "Bound"}})
    found = examine()
    assert found["secret keys"] == [("ok", "is there", "")]
    assert found["secret redis"][0][:2] == ("problem", "has no key 'password'; its keys: pass")
    assert found["secret registry"][0][:2] == ("problem", "does not exist in namespace codegemma")
    assert "secret maybe" not in found
    assert found["volume claim models"] == [("ok", "is bound", "")]


def mounting(name: str, pods: int, claim: str, *, writes: bool = False) -> dict[str, Any]:
    """A worker group whose pods mount a claim."""
    source = {"claimName": claim} | ({} if writes else {"readOnly": True})
    return release.worker_group(name, pods, volumes=[{"name": "v", "persistentVolumeClaim": source}])


def writing_job(claim: str) -> dict[str, Any]:
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}]
    template = {"spec": {"containers": [], "volumes": volumes}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fetch"}, "spec": {"template": template}}


_ONE_NODE = "one node at a time may have it, and up to 3 pods (gateway, chat) would mount it"


_FROM_SNAPSHOT = (
    "Use a claim of ReadWriteMany, such as of NFS or Filestore; or once it is filled, one of ReadOnlyMany made from a "
    "snapshot of it."
)


@pytest.mark.parametrize(
    ("modes", "groups", "job", "found"),
    [
        (["ReadWriteMany"], [mounting("gateway", 2, "m"), mounting("chat", 1, "m")], True, ("ok", "is bound", "")),
        (["ReadOnlyMany"], [mounting("gateway", 2, "m"), mounting("chat", 1, "m")], False, ("ok", "is bound", "")),
        (["ReadWriteOnce"], [mounting("chat", 1, "m")], True, ("ok", "is bound", "")),
        (
            ["ReadWriteOnce"],
            [mounting("gateway", 2, "m"), mounting("chat", 1, "m")],
            False,
            ("problem", f"is ReadWriteOnce: {_ONE_NODE}", _FROM_SNAPSHOT),
        ),
        (
            ["ReadWriteOncePod"],
            [mounting("gateway", 2, "m"), mounting("chat", 1, "m")],
            True,
            ("problem", f"is ReadWriteOncePod: {_ONE_NODE}", _FROM_SNAPSHOT),
        ),
        (
            ["ReadOnlyMany"],
            [mounting("gateway", 2, "m")],
            True,
            (
                "problem",
                "is ReadOnlyMany, and 1 pod (Job fetch) would write to it",
                "Use a claim of ReadWriteMany, or fill this one elsewhere and leave out what writes.",
            ),
        ),
        (
            ["ReadWriteOnce", "ReadOnlyMany"],
            [mounting("chat", 2, "m", writes=True)],
            False,
            (
                "problem",
                "is ReadWriteOnce, ReadOnlyMany, and up to 2 pods (chat) would write to it",
                "Use a claim of ReadWriteMany, such as of NFS or Filestore.",
            ),
        ),
    ],
)
def test_a_claim_whose_access_modes_its_pods_need(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    modes: list[str],
    groups: list[dict[str, Any]],
    job: bool,
    found: tuple[str, str, str],
) -> None:
    # What the claim asked for is not all that its volume can do.
    status = {"phase": "Bound", "accessModes": modes}
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": status}
    healthy.add("v1/persistentvolumeclaims", claim)
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service(*groups)
    objects = [service, writing_job("m")] if job else [service]
    assert examine("-f", "-", input=manifests(*objects))["volume claim m"] == [found]


def test_pods_that_autoscaling_may_add_need_the_claim_too(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    group = mounting("chat", 1, "m") | {"maxReplicas": 4, "numOfHosts": 2}
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}}
    healthy.add("v1/persistentvolumeclaims", claim)
    healthy.add("ray.io/v1/rayservices", release.service(group))
    [(level, text, _)] = examine()["volume claim m"]
    assert level == "problem" and "up to 8 pods (chat) would mount it" in text


def test_a_claim_whose_storage_class_does_not_exist(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("storage.k8s.io/v1/storageclasses", {"metadata": {"name": "standard-rwo"}})
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"storageClassName": "fast"},
    }
    found = examine("-f", "-", input=manifests(claim))["volume claim models"]
    text = "is not created yet: there is no storage class 'fast'"
    assert found == [("problem", text, "Use one of: standard-rwo.")]
