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
                {
                    "name": "steps",
                    "secret": {"secretName": "steps", "items": [{"key": "executables.key", "path": "k"}]},
                },
            ],
            imagePullSecrets=[{"name": "registry"}],
        )
    )
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"] = {"redisPassword": password}
    healthy.add("ray.io/v1/rayservices", service)
    healthy.add("v1/secrets", {"metadata": {"name": "keys"}, "data": {"keys.yaml": ""}})
    healthy.add("v1/secrets", {"metadata": {"name": "redis"}, "data": {"pass": ""}})
    healthy.add("v1/secrets", {"metadata": {"name": "steps"}, "data": {"other.key": ""}})
    healthy.add("v1/persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": {}, "status": {"phase": "Bound"}})
    found = examine()
    assert found["secret keys"] == [("ok", "is there", "")]
    assert found["secret redis"][0][:2] == ("problem", "has no key 'password'; its keys: pass")
    assert found["secret registry"][0][:2] == ("problem", "does not exist in namespace codegemma")
    assert found["secret steps"][0][:2] == ("problem", "has no key 'executables.key'; its keys: other.key")
    assert "secret maybe" not in found
    assert found["volume claim models"] == [("ok", "is bound", "")]


def mounting(name: str, pods: int, claim: str, *, writes: bool = False) -> dict[str, Any]:
    """A worker group whose pods mount a claim."""
    source = {"claimName": claim} | ({} if writes else {"readOnly": True})
    return release.worker_group(name, pods, volumes=[{"name": "v", "persistentVolumeClaim": source}])


def writing_job(claim: str, name: str = "fetch", *, hook: bool = False, **spec: Any) -> dict[str, Any]:
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}]
    template = {"spec": {"containers": [], "volumes": volumes}}
    metadata = {"name": name} | ({"annotations": {"helm.sh/hook": "pre-install,pre-upgrade"}} if hook else {})
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **spec}}


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
        (["ReadWriteOnce"], [mounting("chat", 1, "m")], False, ("ok", "is bound", "")),
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


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"])
@pytest.mark.parametrize(
    ("jobs", "groups", "users"),
    [
        ([writing_job("m")], [], ""),
        ([writing_job("m", "a"), writing_job("m", "b")], [], "2 pods (Job a, Job b)"),
        ([writing_job("m", parallelism=3)], [], "3 pods (Job fetch)"),
        ([writing_job("m", "a", hook=True), writing_job("m", "b", hook=True)], [], ""),  # one after the other
        ([writing_job("m", "a", hook=True), writing_job("m", "b")], [], "2 pods (Job a, Job b)"),
        ([writing_job("m", hook=True)], [mounting("chat", 1, "m")], "2 pods (Job fetch, chat)"),  # of an upgrade
    ],
)
def test_jobs_that_may_have_a_claim_beside_others_on_another_node(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    mode: str,
    jobs: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    users: str,
) -> None:
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": [mode]}, "status": {"phase": "Bound"}}
    healthy.add("v1/persistentvolumeclaims", claim)
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service(*groups)
    objects = [service, *jobs] if groups else jobs
    [(level, text, remedy)] = examine("-f", "-", input=manifests(*objects))["volume claim m"]
    if users and mode != "ReadWriteMany":
        assert level == "warning" and f"is {mode}: one node at a time may have it, and up to {users} would" in text
        assert "Use a claim of ReadWriteMany" in remedy
    else:
        assert (level, text) == ("ok", "is bound")


def test_what_jobs_of_the_chart_need_is_examined_though_helm_makes_them_before_all_else(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    job = writing_job("m", hook=True)
    job["spec"]["template"]["spec"]["containers"] = [
        {"name": "a", "envFrom": [{"secretRef": {"name": "hugging-face"}}]}
    ]
    found = examine("-f", "-", input=manifests(job))
    assert found["secret hugging-face"][0][:2] == ("problem", "does not exist in namespace codegemma")
    assert found["volume claim m"][0][:2] == ("problem", "does not exist in namespace codegemma")


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
