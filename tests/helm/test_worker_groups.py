"""Worker groups: slices, nodes, resources and labels."""

import pytest

from tests.helm.chart import CASE, pods, ray_service, worker_groups


@pytest.mark.parametrize(
    ("name", "hosts", "chips", "kind"),
    [
        ("tpu-1x1", 1, 1, "v5litepod-1"),
        ("tpu-2x2", 1, 4, "v5litepod-4"),
        ("tpu-2x4-one-host", 1, 8, "v5litepod-8"),
        ("tpu-2x4-two-hosts", 2, 4, "v5litepod-8"),
        ("tpu-4x4", 4, 4, "v5litepod-16"),
    ],
)
def test_a_slice_is_as_many_pods_as_it_has_hosts(name: str, hosts: int, chips: int, kind: str) -> None:
    group = worker_groups(CASE[name])["slices"]
    spec = group["template"]["spec"]
    shape = name.removeprefix("tpu-")[:3]
    assert group["numOfHosts"] == hosts
    assert spec["containers"][0]["resources"]["limits"]["google.com/tpu"] == chips
    count = {"cloud.google.com/gke-accelerator-count": str(chips)} if shape == "2x4" else {}
    assert spec["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": shape,
        **count,
    }
    environment = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert (environment["TPU_ACCELERATOR_TYPE"], environment["TPU_TOPOLOGY"]) == (kind, shape)


def test_gpu_workers_run_on_nodes_of_their_type() -> None:
    spec = worker_groups(CASE["gpu"])["gpu"]["template"]["spec"]
    assert spec["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert spec["containers"][0]["image"] == "codegemma-serving:0.1.0-gpu"
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_gateways_and_groups_are_kept_apart() -> None:
    groups = worker_groups(CASE["gpu"])
    assert groups["gateway"]["rayStartParams"]["num-cpus"] == "0"
    assert groups["gateway"]["rayStartParams"]["resources"] == """'{"codegemma-gateway": 1}'"""
    assert "resources" not in groups["gpu"]["rayStartParams"]


def test_labels_of_ray_pods_do_not_change_with_the_chart() -> None:
    for name, pod, _ in pods([ray_service(CASE["demo"])]):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod["metadata"]["labels"].keys(), name
