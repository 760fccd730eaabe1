"""What KubeRay does from 1.7 on: the head's state in RocksDB, and TLS between Ray's processes."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CASE, CHART, HELMS, NAMESPACE, RELEASE, Case, Object, merged, ray_service, run, values
from tests.helm.cluster import KubernetesApi
from tests.helm.mistake import Mistake, assert_named, refusal
from tests.kubernetes_server import serve

_ROCKSDB = {"gcs": {"rocksdb": {"size": "1Gi"}}}
_MTLS = {"ray": {"mtls": True}}
_KUBERAY_1_5 = ("--api-versions", "ray.io/v1/RayService")
_KUBERAY_1_7 = (*_KUBERAY_1_5, "--api-versions", "ray.io/v1/RayCronJob")
_CERT_MANAGER = ("--api-versions", "cert-manager.io/v1")


def _mount(path: str) -> dict[str, Any]:
    return {
        "extraVolumes": [{"name": "own", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "own", "mountPath": path}],
    }


MISTAKES = [
    Mistake(("gcs.redis.address=codegemma-redis:6379", "gcs.rocksdb.size=1Gi", "one of them"), _ROCKSDB, base="gpu-ha"),
    Mistake(
        ("gcs.rocksdb.storageClassName=ssd", "gcs.rocksdb.size is empty"),
        {"gcs": {"rocksdb": {"storageClassName": "ssd"}}},
    ),
    Mistake(
        ("RAY_gcs_storage_path", "gcs.rocksdb.size"),
        merged(_ROCKSDB, {"ray": {"environment": {"RAY_gcs_storage_path": "/tmp"}}}),
    ),
    Mistake(
        ("ray.environment.RAY_gcs_rpc_server_reconnect_timeout_s=0", "to be 3600"),
        merged(_ROCKSDB, {"ray": {"environment": {"RAY_gcs_rpc_server_reconnect_timeout_s": "0"}}}),
    ),
    Mistake(("RAY_USE_TLS", "ray.mtls"), merged(_MTLS, {"ray": {"extraEnv": [{"name": "RAY_USE_TLS", "value": "1"}]}})),
    Mistake(("own is mounted at /data/gcs", "gcs.rocksdb.size"), merged(_ROCKSDB, _mount("/data/gcs"))),
    Mistake(("own is mounted at /etc/ray/tls", "ray.mtls"), merged(_MTLS, _mount("/etc/ray/tls"))),
    Mistake(
        ("extraVolumes: the name ray-tls is taken",),
        {"extraVolumes": [{"name": "ray-tls", "secret": {"secretName": "a"}}]},
    ),
]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.names[0])
def test_what_kuberay_would_refuse_is_refused_with_key_and_value(helm: str, mistake: Mistake) -> None:
    assert_named(mistake, refusal(helm, mistake))


def test_the_heads_state_is_on_a_volume_of_each_clusters_own() -> None:
    options = ray_service(CASE["rocksdb"])["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options == {"backend": "rocksdb", "storage": {"size": "2Gi", "storageClassName": "ssd"}}


def test_tls_does_not_take_the_place_of_the_token() -> None:
    cluster = ray_service(CASE["mtls"])["spec"]["rayClusterConfig"]
    assert cluster["tlsOptions"] == {"enabled": True} and cluster["authOptions"] == {"mode": "token"}
    assert "tlsOptions" not in ray_service(CASE["gpu"])["spec"]["rayClusterConfig"]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("key", "field", "options"),
    [("gcs.rocksdb.size", "gcsFaultToleranceOptions.storage", _ROCKSDB), ("ray.mtls", "tlsOptions", _MTLS)],
    ids=["rocksdb", "mtls"],
)
class TestOlderKubeRay:
    """Its definitions would drop the field, and nobody would know."""

    def test_it_is_told_by_the_kinds_that_a_cluster_has(
        self, helm: str, key: str, field: str, options: dict[str, Any]
    ) -> None:
        mistake = Mistake((key, f"rayClusterConfig.{field}", "KubeRay 1.7", "kubectl apply --server-side"), options)
        assert_named(mistake, refusal(helm, mistake, *_KUBERAY_1_5, *_CERT_MANAGER))
        assert _rendered(helm, options, *_KUBERAY_1_7, *_CERT_MANAGER)

    def test_it_is_told_by_the_definition_that_a_cluster_has(
        self, helm: str, key: str, field: str, options: dict[str, Any], tmp_path: Path
    ) -> None:
        def asked(api: KubernetesApi, options: dict[str, Any]) -> str:
            with serve(api) as url:
                case = _case(options)
                environment = os.environ | {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
                asking = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url)
                arguments = ("template", RELEASE, CHART, "-n", NAMESPACE, *asking, *values(case))
                result = run(helm, *arguments, case=case, check=False, env=environment)
                return result.stderr if result.returncode else ""

        older = asked(_cluster("authOptions"), options)
        assert key in older and f"rayClusterConfig.{field}" in older and "KubeRay 1.7" in older
        assert not asked(_cluster("authOptions"), {})
        assert not asked(_cluster(field), options)


@pytest.mark.parametrize("helm", HELMS)
def test_tls_without_cert_manager_is_refused_where_it_is_known_that_there_is_none(helm: str) -> None:
    mistake = Mistake(("ray.mtls=true", "cert-manager.io/v1", "restart KubeRay's operator"), _MTLS)
    assert_named(mistake, refusal(helm, mistake, *_KUBERAY_1_7))


def _case(options: dict[str, Any]) -> Case:
    base = CASE["gpu"]
    return Case("options", base.profiles, merged(base.values, options))


def _rendered(helm: str, options: dict[str, Any], *arguments: str) -> bool:
    case = _case(options)
    return bool(run(helm, "template", RELEASE, CHART, *values(case), *arguments, case=case).stdout)


def _cluster(field: str) -> KubernetesApi:
    """A cluster whose RayServices have one field of rayClusterConfig."""
    schema: Object = {"type": "object"}
    for name in reversed(["spec", "rayClusterConfig", *field.split(".")]):
        schema = {"type": "object", "properties": {name: schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rayservices.ray.io"},
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }
    api = KubernetesApi()
    api.objects["apiextensions.k8s.io/v1/customresourcedefinitions", None, "rayservices.ray.io"] = definition
    return api
