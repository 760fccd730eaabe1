"""Sizes and tolerations that KubeRay does not carry from a RayService to its RayCluster."""

import copy
import json
from typing import Any

import pytest

from tests.cluster import release
from tests.cluster.conftest import Run
from tests.cluster.kubernetes_api import KubernetesApi

_TAINT = {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}
_PATH = "GET /apis/ray.io/v1/namespaces/codegemma/rayclusters"


def _install(api: KubernetesApi, asked: tuple[dict[str, Any], ...], has: tuple[dict[str, Any], ...]) -> None:
    api.add("ray.io/v1/rayservices", release.service(*copy.deepcopy(asked)))
    api.add("ray.io/v1/rayclusters", release.ray_cluster(*copy.deepcopy(has)))


def _sizes(api: KubernetesApi, name: str = release.ACTIVE) -> dict[str, tuple[int, int]]:
    groups = api.objects["ray.io/v1/rayclusters", "codegemma", name].raw["spec"]["workerGroupSpecs"]
    return {one["groupName"]: (one["minReplicas"], one["maxReplicas"]) for one in groups}


@pytest.fixture
def grown(api: KubernetesApi) -> KubernetesApi:
    """More `chat` groups are asked for, and fewer Gateways; the RayCluster has its groups in another order."""
    gateway, chat = release.worker_group("gateway", 2, most=4), release.tpu_group(replicas=1, most=2)
    asked = (gateway | {"minReplicas": 1}, chat | {"minReplicas": 2, "maxReplicas": 6})
    _install(api, asked, (chat, gateway))
    return api


def test_status_finds_sizes_that_did_not_arrive(grown: KubernetesApi, cluster: Run) -> None:
    text = " ".join(cluster("status").stdout.split())
    assert "RayCluster codegemma-abc12: chat.maxReplicas is 2, 6 is asked for" in text
    assert "RayCluster codegemma-abc12: gateway.minReplicas is 2, 1 is asked for" in text
    assert "codegemma cluster resize -n codegemma" in text


def test_status_in_json_has_them(grown: KubernetesApi, cluster: Run) -> None:
    drift = json.loads(cluster("status", "--json").stdout)["drift"]
    assert {"cluster": release.ACTIVE, "group": "chat", "size": "maxReplicas", "has": 2, "asked": 6} in drift["resizes"]
    assert len(drift["resizes"]) == 3 and drift["untolerated"] == []


def test_resize_sets_them_and_nothing_else(grown: KubernetesApi, cluster: Run) -> None:
    before = copy.deepcopy(grown.objects["ray.io/v1/rayclusters", "codegemma", release.ACTIVE].raw)
    result = cluster("resize")
    assert result.exit_code == 0, result.output
    assert "RayCluster codegemma-abc12: chat.maxReplicas 2 -> 6" in result.stdout
    assert _sizes(grown) == {"gateway": (1, 4), "chat": (2, 6)}
    after = grown.objects["ray.io/v1/rayclusters", "codegemma", release.ACTIVE].raw
    for one in (before, after):
        for group in one["spec"]["workerGroupSpecs"]:
            del group["minReplicas"], group["maxReplicas"]
    assert after == before
    assert "is asked for" not in cluster("status").stdout
    assert "nothing to do" in cluster("resize").stdout


def test_groups_are_waited_for_up_to_the_new_least(grown: KubernetesApi, cluster: Run) -> None:
    cluster("resize")
    groups = {one["name"]: one["desired"] for one in json.loads(cluster("status", "--json").stdout)["groups"]}
    assert groups["chat"] == 4  # two slices of two hosts, though `replicas` still says one


def test_of_two_clusters_the_newer_one_is_resized(api: KubernetesApi, cluster: Run) -> None:
    asked, old = release.worker_group("gateway", 1, most=6), release.worker_group("gateway", 1, most=2)
    service = release.service(asked, pendingServiceStatus={"rayClusterName": "codegemma-new"})
    api.add("ray.io/v1/rayservices", service)
    api.add("ray.io/v1/rayclusters", release.ray_cluster(copy.deepcopy(old)))
    api.add("ray.io/v1/rayclusters", release.ray_cluster(copy.deepcopy(old)) | {"metadata": {"name": "codegemma-new"}})
    cluster("resize")
    assert _sizes(api, "codegemma-new") == {"gateway": (1, 6)}
    assert _sizes(api) == {"gateway": (1, 2)}


def test_a_cluster_that_is_not_there_yet_gets_its_sizes_from_kuberay(api: KubernetesApi, cluster: Run) -> None:
    api.add("ray.io/v1/rayservices", release.service(activeServiceStatus=None))
    result = cluster("resize")
    assert result.exit_code == 2 and "no RayCluster yet" in result.stderr


def test_tolerations_that_did_not_arrive_are_said(api: KubernetesApi, cluster: Run) -> None:
    has = release.worker_group("chat", 1)
    _install(api, (release.worker_group("chat", 1, tolerations=[_TAINT]),), (has,))
    assert "lacks tolerations that the RayService has: chat." in " ".join(cluster("status").stdout.split())


def test_tolerations_that_others_add_are_no_difference(api: KubernetesApi, cluster: Run) -> None:
    has = release.worker_group("chat", 1, tolerations=[{"key": "kueue", "operator": "Exists"}, _TAINT])
    _install(api, (release.worker_group("chat", 1, tolerations=[_TAINT | {"value": ""}]),), (has,))
    assert "tolerations" not in cluster("status").stdout


def test_without_the_right_to_read_clusters_nothing_is_claimed(grown: KubernetesApi, cluster: Run) -> None:
    grown.forbidden.add(_PATH)
    result = cluster("status")
    assert result.exit_code == 0 and "is asked for" not in result.stdout


def test_without_the_right_to_change_clusters_resize_says_so(grown: KubernetesApi, cluster: Run) -> None:
    grown.forbidden.add(_PATH.replace("GET", "PATCH"))
    result = cluster("resize")
    assert result.exit_code == 2 and "no right to PATCH" in result.stderr
    assert _sizes(grown)["chat"] == (1, 2)
