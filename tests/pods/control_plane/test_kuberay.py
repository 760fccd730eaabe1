"""What KubeRay makes of the chart's RayService: held against the commands and variables of ray-operator 1.7."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from tests.helm.chart import CASE, Object, ray_service
from tests.pods.control_plane import kuberay

_SERVICE = ray_service(CASE["demo"])
_HEAD_SERVICE = "codegemma-abcde-head-svc.codegemma.svc.cluster.local"


@pytest.fixture
def cluster() -> Object:
    return kuberay.ray_cluster(_SERVICE, "abcde")


def group(cluster: Object, name: str) -> Object:
    (found,) = (each for each in cluster["spec"]["workerGroupSpecs"] if each["groupName"] == name)
    return dict(found)


def variables(container: Object) -> dict[str, Any]:
    """The variables of a container, each of which it has once."""
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_the_head_starts_as_kuberay_starts_it(cluster: Object) -> None:
    pod = kuberay.head_pod(cluster, "fghij")
    ray = pod["spec"]["containers"][0]
    assert pod["metadata"]["name"] == "codegemma-abcde-head-fghij"
    assert ray["command"] == ["/bin/bash", "-c", "--"]
    assert ray["args"] == [
        "ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536}; ray start --head --block --dashboard-agent-listen-port=52365"
        " --dashboard-host=0.0.0.0 --memory=4294967296 --metrics-export-port=8080 --no-monitor --num-cpus=0"
        " --object-store-memory=268435456"
    ]
    assert (
        variables(ray).items()
        >= {
            "RAY_ADDRESS": "127.0.0.1:6379",
            "RAY_PORT": "6379",
            "RAY_enable_autoscaler_v2": "true",
            "RAY_AUTH_MODE": "token",
            "RAY_gcs_server_request_timeout_seconds": "5",
        }.items()
    )
    assert "FQ_RAY_IP" not in variables(ray)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "gateway",
            """--memory=3221225472 --metrics-export-port=8080 --num-cpus=0 --object-store-memory=268435456"""
            """ --resources='{"codegemma-gateway": 1}'""",
        ),
        ("cpu", "--memory=8589934592 --metrics-export-port=8080 --num-cpus=4 --object-store-memory=268435456"),
    ],
)
def test_workers_start_as_kuberay_starts_them(cluster: Object, name: str, options: str) -> None:
    pod = kuberay.worker_pod(cluster, group(cluster, name), "fghij")
    ray = pod["spec"]["containers"][0]
    assert pod["metadata"]["name"] == f"codegemma-abcde-{name}-worker-fghij"
    assert ray["args"] == [
        f"ulimit -n ${{RAY_START_ULIMIT_OPEN_FILES:-65536}}; ray start --address={_HEAD_SERVICE}:6379 --block"
        f" --dashboard-agent-listen-port=52365 {options}"
    ]
    assert (
        variables(ray).items()
        >= {
            "FQ_RAY_IP": _HEAD_SERVICE,
            "RAY_IP": "codegemma-abcde-head-svc",
            "RAY_ADDRESS": f"{_HEAD_SERVICE}:6379",
            "RAY_NODE_TYPE_NAME": {"fieldRef": {"fieldPath": "metadata.labels['ray.io/group']"}},
        }.items()
    )


def test_workers_wait_for_the_head_behind_the_sidecar_that_prints_logs(cluster: Object) -> None:
    pod = kuberay.worker_pod(cluster, group(cluster, "cpu"), "fghij")
    logs, wait = pod["spec"]["initContainers"]
    assert (logs["name"], wait["name"]) == ("logs", "wait-gcs-ready")
    assert f"ray health-check --address {_HEAD_SERVICE}:6379" in wait["args"][0]
    assert variables(wait)["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": "codegemma-abcde", "key": "auth_token"}}


def test_all_that_asks_ray_has_the_token_of_its_own_cluster(cluster: Object) -> None:
    name, secret = kuberay.auth_secret(cluster, "drawn")
    pods = [kuberay.head_pod(cluster, "x"), kuberay.worker_pod(cluster, group(cluster, "gateway"), "y")]
    containers = [each for pod in pods for each in pod["spec"]["containers"]]
    assert [each["name"] for each in containers] == ["ray-head", "autoscaler", "ray-worker"]
    for container in containers:
        reference = variables(container)["RAY_AUTH_TOKEN"]["secretKeyRef"]
        assert reference["name"] == name and secret[reference["key"]] == "drawn"


def test_the_services_select_gateway_pods_only(cluster: Object) -> None:
    selector = {"app.kubernetes.io/component": "gateway", "app.kubernetes.io/part-of": "codegemma-serving"}
    pods = {
        "head": kuberay.head_pod(cluster, "x"),
        **{name: kuberay.worker_pod(cluster, group(cluster, name), "y") for name in ("gateway", "cpu")},
    }
    selected = [name for name, pod in pods.items() if selector.items() <= pod["metadata"]["labels"].items()]
    assert selected == ["gateway"]


def test_a_variable_of_the_template_stays(cluster: Object) -> None:
    template = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    template["env"].append({"name": "RAY_SERVE_KV_TIMEOUT_S", "value": "60"})
    ray = kuberay.head_pod(cluster, "x")["spec"]["containers"][0]
    assert variables(ray)["RAY_SERVE_KV_TIMEOUT_S"] == "60"


def test_pods_share_nothing_with_the_cluster_that_they_are_made_of(cluster: Object) -> None:
    before = copy.deepcopy(cluster)
    kuberay.head_pod(cluster, "x")
    kuberay.worker_pod(cluster, group(cluster, "cpu"), "y")
    assert cluster == before


def test_rays_autoscaler_reads_the_cluster(cluster: Object) -> None:
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    types = config["available_node_types"]
    assert types["gateway"]["resources"]["codegemma-gateway"] == 1
    assert (types["gateway"]["min_workers"], types["gateway"]["max_workers"]) == (1, 2)


@given(replicas=st.integers(0, 9), least=st.integers(0, 9), more=st.integers(0, 9))
def test_a_group_has_no_fewer_pods_than_it_must_and_no_more_than_it_may(replicas: int, least: int, more: int) -> None:
    sizes = {"replicas": replicas, "minReplicas": least, "maxReplicas": least + more}
    assert kuberay.wanted(sizes) == sorted((least, replicas, least + more))[1]


def test_other_sizes_want_no_new_cluster_and_other_pods_do() -> None:
    other_sizes, other_pods = copy.deepcopy(_SERVICE), copy.deepcopy(_SERVICE)
    other_sizes["spec"]["rayClusterConfig"]["workerGroupSpecs"][0] |= {"replicas": 2, "maxReplicas": 4}
    other_sizes["spec"]["serveConfigV2"] += "# other\n"
    template = other_pods["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    template["metadata"]["annotations"]["revision"] = "second"
    assert kuberay.compared(other_sizes) == kuberay.compared(_SERVICE) != kuberay.compared(other_pods)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ((), "gcsFaultToleranceOptions"),
        (("headGroupSpec",), "headGroupSpec.resources"),
        (("headGroupSpec", "rayStartParams"), "headGroupSpec.rayStartParams.plasma-directory"),
        (("workerGroupSpecs", 1), "workerGroupSpecs[1].suspend"),
    ],
)
def test_what_has_no_rule_here_is_refused_by_name(where: tuple[str | int, ...], field: str) -> None:
    service = copy.deepcopy(_SERVICE)
    place: Any = service["spec"]["rayClusterConfig"]
    for part in where:
        place = place[part]
    place[field.rpartition(".")[2]] = {}
    with pytest.raises(kuberay.UnsupportedError, match=re.escape(field)):
        kuberay.ray_cluster(service, "abcde")


@pytest.mark.parametrize("profile", ["gpu", "tpu-v5e", "gpu-ha"])
def test_accelerators_are_refused(profile: str) -> None:
    with pytest.raises(kuberay.UnsupportedError):
        kuberay.ray_cluster(ray_service(CASE[profile]), "abcde")
