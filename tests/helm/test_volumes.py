"""Volumes: what is mounted where, and by whom."""

import pytest

from tests.helm.chart import CASE, CHART, RELEASE, Case, Object, every_case, of_kind, pods, rendered, worker_groups
from tests.helm.containers import autoscaler, containers


@every_case
def test_volumes_that_are_mounted_exist_and_none_is_left_over(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        mounted = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", [])}
        if name == "head":
            mounted |= {mount["name"] for mount in autoscaler(case)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}, name


@every_case
def test_config_maps_that_are_mounted_exist(case: Case) -> None:
    objects = rendered(case)
    for _, pod, _ in pods(objects):
        names = {volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume}
        assert names <= of_kind(objects, "ConfigMap").keys()


@every_case
def test_secrets_are_named_and_never_written(case: Case) -> None:
    assert not of_kind(rendered(case), "Secret")


@every_case
def test_ray_places_that_are_written_are_writable(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        if not name.startswith(RELEASE):
            mounts = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
            assert {"/tmp", "/tmp/ray", "/dev/shm", "/home/codegemma/.cache", "/home/codegemma/.local/share"} <= mounts


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gpu", {"persistentVolumeClaim": {"claimName": "codegemma-models", "readOnly": True}}),
        ("copy", {"emptyDir": {"sizeLimit": "40Gi"}}),
        (
            "gcs-fuse",
            {
                "csi": {
                    "driver": "gcsfuse.csi.storage.gke.io",
                    "readOnly": True,
                    "volumeAttributes": {
                        "bucketName": "models",
                        "mountOptions": "implicit-dirs,uid=1000,gid=1000,read_ahead_kb=1024,only-dir=gemma",
                    },
                }
            },
        ),
    ],
)
def test_models_are_where_gateways_and_groups_read_them(name: str, source: Object) -> None:
    for group in worker_groups(CASE[name]).values():
        spec = group["template"]["spec"]
        assert {"name": "models", **source} in spec["volumes"]
        assert {"name": "models", "mountPath": "/models", "readOnly": True} in spec["containers"][0]["volumeMounts"]


def test_the_sidecar_that_mounts_a_bucket_keeps_up_with_groups_and_takes_little_beside_gateways() -> None:
    limits = {
        f"gke-gcsfuse/{each}-limit": amount
        for each, amount in (("cpu", "2"), ("memory", "1Gi"), ("ephemeral-storage", "1Gi"))
    }
    for name, group in worker_groups(CASE["gcs-fuse"]).items():
        annotations = group["template"]["metadata"]["annotations"]
        assert annotations["gke-gcsfuse/volumes"] == "true"
        assert {key: annotations[key] for key in limits.keys() & annotations.keys()} == (
            {} if name == "gateway" else limits
        )


def test_gateways_and_groups_read_adapters_from_a_claim_of_their_own_and_nobody_writes_there() -> None:
    source = {"persistentVolumeClaim": {"claimName": "codegemma-adapters", "readOnly": True}}
    for group in worker_groups(CASE["adapters"]).values():
        spec = group["template"]["spec"]
        assert {"name": "adapters", **source} in spec["volumes"]
        mounts = [mount for each in containers(group["template"]) for mount in each.get("volumeMounts", [])]
        own = [mount for mount in mounts if mount["name"] == "adapters"]
        assert own == [{"name": "adapters", "mountPath": "/adapters", "readOnly": True}]


def test_a_bucket_is_copied_and_checked_before_ray_starts_and_gateways_take_no_weights() -> None:
    copy = ["sh", "/scripts/copy-bucket.sh", "s3://m/2b", "/models/codegemma-2b"]
    for name, group in worker_groups(CASE["copy"]).items():
        containers = group["template"]["spec"]["initContainers"]
        (container,) = (each for each in containers if each["name"] == "copy-codegemma-2b")
        assert container["command"] == (copy if name == "gpu" else [*copy, "*.safetensors"])
        assert {"name": "RCLONE_S3_ENDPOINT", "value": "https://minio:9000"} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
        (scripts,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/scripts")
        (volume,) = (each for each in group["template"]["spec"]["volumes"] if each["name"] == scripts)
        script = of_kind(rendered(CASE["copy"]), "ConfigMap")[volume["configMap"]["name"]]["data"]["copy-bucket.sh"]
        assert script.strip() == (CHART / "files" / "copy-bucket.sh").read_text().strip()


def test_the_job_that_compiles_copies_a_bucket_too() -> None:
    objects = rendered(CASE["compile-copy"])
    spec = of_kind(objects, "Job")["codegemma-compile-tpu"]["spec"]["template"]["spec"]
    (container,) = spec["initContainers"]
    assert container["command"][:2] == ["sh", "/scripts/copy-bucket.sh"]
    (scripts,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/scripts")
    (volume,) = (each for each in spec["volumes"] if each["name"] == scripts)
    assert "copy-bucket.sh" in of_kind(objects, "ConfigMap")[volume["configMap"]["name"]]["data"]


def test_keys_are_mounted_as_a_directory_so_that_changes_reach_the_pod() -> None:
    spec = worker_groups(CASE["demo"])["gateway"]["template"]["spec"]
    (mount,) = (each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "keys")
    assert mount == {"name": "keys", "mountPath": "/etc/codegemma/keys", "readOnly": True}
    assert {"name": "keys", "secret": {"secretName": "codegemma-keys"}} in spec["volumes"]
