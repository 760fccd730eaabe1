"""`codegemma cluster doctor`: nodes with the accelerators that an installation or an upgrade asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import release
from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests


def chips(count: int) -> dict[str, Any]:
    return {"name": "ray-worker", "resources": {"limits": {"google.com/tpu": str(count)}}}


def test_nodes_of_another_topology_do_not_help(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = release.service(release.tpu_group())
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["template"]["spec"]["nodeSelector"] = release.V5E | {"cloud.google.com/gke-tpu-topology": "4x4"}
    healthy.add("ray.io/v1/rayservices", service)
    [(level, text, remedy)] = examine()["accelerators of chat"]
    assert level == "problem" and "no node has google.com/tpu and these labels" in text
    assert "Add a TPU node pool of topology 4x4" in remedy


def test_chips_that_other_pods_hold_are_not_free(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    other = release.pod("training", "x", node="tpu-1", containers=[chips(4)])
    other["metadata"] |= {"namespace": "research", "labels": {}}
    healthy.add("v1/pods", other)
    [(level, text, _)] = examine("-f", "-", input=manifests())["accelerators of chat"]
    assert level == "problem" and text.endswith("there is room for 0")


def test_chips_that_the_release_holds_are_its_own(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    for number in range(2):
        healthy.add("v1/pods", release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)]))
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group(most=2)))
    [(level, text, _)] = examine()["accelerators of chat"]
    assert level == "warning" and text.endswith("autoscaling may want 4, there is room for 2 now")


def test_chips_of_a_release_whose_name_is_only_a_part_of_its_service_s(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    service["metadata"] = {"name": "prod-codegemma", "labels": {"app.kubernetes.io/instance": "prod"}}
    for number in range(2):
        pod = release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)])
        pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "prod"
        healthy.add("v1/pods", pod)
    assert examine("-f", "-", input=manifests(service))["accelerators of chat"][0][0] == "ok"
    healthy.add("ray.io/v1/rayservices", service)
    assert examine("--release", "prod")["accelerators of chat"][0][0] == "ok"


def test_an_upgrade_needs_room_for_a_second_cluster(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group()))
    [(level, text, _)] = examine()["upgrade"]
    assert level == "ok" and "has room" in text  # nothing of the release runs yet
    for number in range(2):
        pod = release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)])
        healthy.add("v1/pods", pod)
    [(level, text, remedy)] = examine()["upgrade"]
    assert level == "warning" and "2 x 4 google.com/tpu" in text and text.endswith("there is room for 0")
    assert "ray.upgradeStrategy: None" in remedy
    [(level, _, _)] = examine("-f", "-", input=manifests())["upgrade"]
    assert level == "warning"
    healthy.add("v1/configmaps", {"metadata": {"name": "cluster-autoscaler-status", "namespace": "kube-system"}})
    assert "upgrade" not in examine()  # more nodes may come


def test_an_upgrade_without_a_second_cluster_needs_no_room(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    assert "upgrade" not in examine("-f", "-", input=manifests())  # the first installation is none
    service = release.service(release.tpu_group())
    service["spec"]["upgradeStrategy"] = {"type": "None"}
    healthy.add("ray.io/v1/rayservices", service)
    assert "upgrade" not in examine()


def test_two_groups_do_not_get_the_same_chips(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group("a"), release.tpu_group("b")))
    found = examine()
    assert found["accelerators of a"][0][0] == "ok"
    assert found["accelerators of b"][0][:2] == (
        "problem",
        "2 x 4 google.com/tpu with cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice, "
        "cloud.google.com/gke-tpu-topology=2x4: there is room for 0",
    )


def test_with_an_autoscaler_of_nodes_missing_nodes_are_a_warning(
    api: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    api.add("v1/configmaps", {"metadata": {"name": "cluster-autoscaler-status", "namespace": "kube-system"}})
    api.add("ray.io/v1/rayservices", release.service())
    assert examine()["accelerators of chat"][0][0] == "warning"


def test_the_hosts_of_a_group_must_be_of_one_slice(api: KubernetesApi, examine: Callable[..., Findings]) -> None:
    for name, pool in (("tpu-0", "a"), ("tpu-1", "b"), ("tpu-2", "c"), ("tpu-3", "c")):
        node = release.tpu_node(name)
        node["metadata"]["labels"]["cloud.google.com/gke-nodepool"] = pool
        api.add("v1/nodes", node)
    api.add("ray.io/v1/rayservices", release.service(release.tpu_group("a"), release.tpu_group("b")))
    found = examine()
    assert found["accelerators of a"][0][1].endswith("there is room for 2")
    assert found["accelerators of b"][0][1].endswith("there is room for 0")


def test_nodes_that_take_no_pods_do_not_count(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    cordoned = release.tpu_node("tpu-1")
    cordoned["spec"] = {"unschedulable": True}
    healthy.add("v1/nodes", cordoned)
    [(level, text, _)] = examine("-f", "-", input=manifests())["accelerators of chat"]
    assert level == "problem" and text.endswith("there is room for 0")


def test_a_configuration_tells_the_accelerators_too(
    healthy: KubernetesApi, examine: Callable[..., Findings], tmp_path: Path
) -> None:
    models = [
        {"id": "a", "checkpoint": "/a", "roles": ["fim"], "topology": {"accelerator": "gpu", "chips_per_host": 2}},
        {
            "id": "b",
            "checkpoint": "/b",
            "roles": ["chat"],
            "topology": {"accelerator": "tpu-v5litepod", "chips_per_host": 4, "hosts": 2},
        },
        {"id": "c", "checkpoint": "/c", "roles": ["chat"]},
    ]
    routing = {"roles": {"chat": {"models": {"b": 1, "c": 1}}}}
    args = {"models": models, "routing": routing}
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"import_path": "serving.app:build", "args": args}]}))
    found = examine("--config", str(file))
    assert found["accelerators of a"][0][:2] == (
        "problem",
        "1 x 2 nvidia.com/gpu: no node has nvidia.com/gpu and these labels",
    )
    assert found["accelerators of b"][0][0] == "ok"
    assert "accelerators of c" not in found
