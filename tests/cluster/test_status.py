"""`codegemma cluster status`: what it shows of a release."""

import json
from typing import Any

import pytest

from tests.cluster import release
from tests.cluster.conftest import Run
from tests.cluster.kubernetes_api import KubernetesApi

TPU_POD = [{"name": "ray-worker", "image": "i:1", "resources": {"limits": {"google.com/tpu": "4"}}}]
GATEWAY_METRICS = """\
# TYPE ray_codegemma_waiting_requests gauge
ray_codegemma_waiting_requests{model="codegemma-7b-it"} 3
# TYPE ray_codegemma_ready_groups gauge
ray_codegemma_ready_groups{model="codegemma-7b-it"} 1
"""
GROUP_METRICS = """\
# TYPE ray_codegemma_queue_depth gauge
ray_codegemma_queue_depth{model="codegemma-7b-it",priority="urgent"} 2
ray_codegemma_queue_depth{model="codegemma-7b-it",priority="normal"} 5
# TYPE ray_codegemma_running_requests gauge
ray_codegemma_running_requests{model="codegemma-7b-it"} 16
# TYPE ray_codegemma_prompt_tokens counter
ray_codegemma_prompt_tokens_total{model="codegemma-7b-it"} 12345
"""


@pytest.fixture
def installed(api: KubernetesApi) -> KubernetesApi:
    api.add("ray.io/v1/rayservices", release.service())
    api.add("ray.io/v1/rayclusters", release.ray_cluster())
    for name, group, containers, metrics in (
        ("head", "headgroup", release.CONTAINERS, ""),
        ("gateway-0", "gateway", release.CONTAINERS, GATEWAY_METRICS),
        ("gateway-1", "gateway", release.CONTAINERS, GATEWAY_METRICS),
        ("chat-0", "chat", TPU_POD, GROUP_METRICS),
        ("chat-1", "chat", TPU_POD, ""),
    ):
        api.add("v1/pods", release.pod(name, group, node=f"node-{name}", containers=containers))
        api[f"get /api/v1/namespaces/codegemma/pods/{name}:8080/proxy/metrics"] << metrics.encode()
    return api


def test_it_shows_rollout_groups_and_queues(installed: KubernetesApi, cluster: Run) -> None:
    result = cluster("status")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert "codegemma in codegemma: in service" in result.stdout
    assert ["headgroup", "1/1", "-", "node-head"] in lines
    assert ["chat", "2/2", "8", "google.com/tpu", "node-chat-0,", "node-chat-1"] in lines
    assert ["Gateway", "healthy"] in lines
    # Two Gateways hold three waiting requests each; both see the same one group.
    assert ["codegemma-7b-it", "1", "6", "7", "16"] in lines


def test_json_has_the_same(installed: KubernetesApi, cluster: Run) -> None:
    status = json.loads(cluster("status", "--json").stdout)
    assert status["rollout"] == {"done": True, "text": "in service"}
    assert status["clusters"] == {"active": release.ACTIVE}
    assert status["queues"] == {"codegemma-7b-it": {"waiting": 6, "queued": 7, "running": 16, "groups": 1}}
    assert [(group["name"], group["ready"], group["desired"]) for group in status["groups"]] == [
        ("headgroup", 1, 1), ("gateway", 2, 2), ("chat", 2, 2)
    ]  # fmt: skip
    assert status["pending"] == [] and status["unread"] is None


def test_pods_of_other_releases_do_not_count(installed: KubernetesApi, cluster: Run) -> None:
    stranger = release.pod("stranger", "gateway")
    stranger["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    installed.add("v1/pods", stranger)
    assert "gateway    2/2" in cluster("status").stdout


def test_metrics_that_cannot_be_read_are_said_and_the_rest_is_shown(installed: KubernetesApi, cluster: Run) -> None:
    installed.forbidden.add("GET /api/v1/namespaces/codegemma/pods/chat-0:8080")
    result = cluster("status")
    assert result.exit_code == 0
    assert "metrics not read: chat-0: no right to GET" in " ".join(result.stdout.split())
    assert "chat       2/2" in result.stdout


def test_pods_whose_metrics_do_not_answer_are_not_waited_for(
    installed: KubernetesApi, cluster: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cluster.queues._ANSWER_S", 0.05)
    for pod in ("head", "gateway-0", "gateway-1", "chat-0", "chat-1"):
        installed.silent.add(f"/api/v1/namespaces/codegemma/pods/{pod}:8080/proxy/metrics")
    result = cluster("status")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["not", "read", "?", "?", "?", "?"] in lines
    assert ["chat", "2/2", "8", "google.com/tpu", "node-chat-0,", "node-chat-1"] in lines
    text = " ".join(result.stdout.split())
    assert "metrics not read: chat-0 and 4 more: no answer within 0.05 s; a network policy or firewall may" in text


def test_a_release_whose_name_is_only_a_part_of_its_service_s(installed: KubernetesApi, cluster: Run) -> None:
    of_prod = {"name": "prod-codegemma", "labels": {"app.kubernetes.io/instance": "prod"}}
    installed.add("ray.io/v1/rayservices", release.service() | {"metadata": of_prod})
    pod = release.pod("prod-gateway", "gateway", node="node-prod")
    pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "prod"
    installed.add("v1/pods", pod)
    result = cluster("status", "--release", "prod")
    assert result.exit_code == 0, result.output
    assert "prod in codegemma: in service" in result.stdout
    assert ["gateway", "1/2", "-", "node-prod"] in [line.split() for line in result.stdout.splitlines()]
    refused = cluster("status", "--release", "prod-codegemma")
    assert refused.exit_code == 2
    assert "its releases: codegemma (RayService codegemma), prod (RayService prod-codegemma)." in " ".join(
        refused.stderr.split()
    )


def test_two_services_of_one_release_cannot_be_told_apart(installed: KubernetesApi, cluster: Run) -> None:
    second = release.service()
    second["metadata"] |= {"name": "team-codegemma"}
    installed.add("ray.io/v1/rayservices", second)
    result = cluster("status")
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert "several RayServices of release 'codegemma': codegemma, team-codegemma." in message


def test_without_the_right_to_read_the_rest_the_pods_are_shown(installed: KubernetesApi, cluster: Run) -> None:
    ray_clusters = "GET /apis/ray.io/v1/namespaces/codegemma/rayclusters"
    installed.forbidden |= {ray_clusters, "GET /api/v1/namespaces/codegemma/events"}
    result = cluster("status")
    assert result.exit_code == 0 and "chat       2/?" in result.stdout


def test_a_pod_without_nodes_says_which_topology_is_missing(installed: KubernetesApi, cluster: Run) -> None:
    message = "0/9 nodes are available: 9 node(s) didn't match Pod's node affinity/selector."
    unscheduled = [release.condition("PodScheduled", "False", "Unschedulable", message)]
    pending = release.pod("chat-2", "chat", phase="Pending", conditions=unscheduled, spec={"nodeSelector": release.V5E})
    installed.add("v1/pods", pending)
    result = cluster("status")
    assert "chat-2" in result.stdout and "no node of TPU topology 2x4" in result.stdout


def test_pods_that_a_quota_refuses_are_explained_by_the_event(installed: KubernetesApi, cluster: Run) -> None:
    installed.add("ray.io/v1/rayclusters", release.ray_cluster(release.tpu_group(replicas=2)))
    message = (
        'pods "chat-3" is forbidden: exceeded quota: accelerators, requested: requests.google.com/tpu=4, '
        "used: requests.google.com/tpu=8, limited: requests.google.com/tpu=8"
    )
    installed.add("v1/events", release.warning("RayCluster", release.ACTIVE, message))
    [pending] = json.loads(cluster("status", "--json").stdout)["pending"]
    assert pending["name"] == f"RayCluster/{release.ACTIVE}"
    assert pending["reason"] == (
        "quota accelerators is exceeded: requests.google.com/tpu=4 wanted, requests.google.com/tpu=8 used, "
        "requests.google.com/tpu=8 allowed"
    )


def test_of_several_refusals_the_newest_is_shown(installed: KubernetesApi, cluster: Run) -> None:
    installed.add("ray.io/v1/rayclusters", release.ray_cluster(release.tpu_group(replicas=2)))
    for number, second in enumerate((20, 10)):
        time = f"2026-01-01T00:00:{second}Z"
        message = f"refused at {second}"
        installed.add("v1/events", release.warning("RayCluster", release.ACTIVE, message, number, lastTimestamp=time))
    [pending] = json.loads(cluster("status", "--json").stdout)["pending"]
    assert pending["reason"] == "refused at 20"


def test_old_warnings_are_not_shown_once_all_pods_are_there(installed: KubernetesApi, cluster: Run) -> None:
    installed.add("v1/events", release.warning("RayCluster", release.ACTIVE, "exceeded quota"))
    assert json.loads(cluster("status", "--json").stdout)["pending"] == []


def test_while_a_new_cluster_takes_over_both_are_shown(installed: KubernetesApi, cluster: Run) -> None:
    upgrading = [
        release.condition("Ready", "True"),
        release.condition("UpgradeInProgress", "True", "BothActivePendingClustersExist", "both are there"),
    ]
    new = {"rayClusterName": "codegemma-new34"}
    installed.add("ray.io/v1/rayservices", release.service(conditions=upgrading, pendingServiceStatus=new))
    result = cluster("status")
    assert "UpgradeInProgress is true: both are there" in result.stdout
    assert f"RayCluster {release.ACTIVE} (active), codegemma-new34 (pending)" in result.stdout
    assert f"{release.ACTIVE} gateway" in result.stdout


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"observedGeneration": 0}, "the operator has not taken up the newest manifest yet"),
        ({"conditions": []}, "the operator has not reported yet"),
        (
            {"conditions": [release.condition("Ready", "False", "ZeroServeEndpoints", "no endpoints")]},
            "Ready is false: no endpoints",
        ),
        (
            {
                "observedGeneration": 0,
                "conditions": [release.condition("Ready", "False", "ValidationFailed", "the name is too long")],
            },
            "Ready is false: the name is too long (the operator has not taken up the newest manifest yet)",
        ),
        (
            {
                "conditions": [
                    release.condition("Ready", "True"),
                    release.condition("UpgradeInProgress", "True", "", "both are there"),
                ],
                "pendingServiceStatus": {
                    "rayClusterName": "codegemma-new34",
                    "applicationStatuses": {"codegemma": {"status": "DEPLOY_FAILED", "message": "no such file"}},
                },
            },
            "application codegemma is DEPLOY_FAILED: no such file (UpgradeInProgress is true: both are there)",
        ),
        (
            {"activeServiceStatus": {"rayClusterName": release.ACTIVE}},
            "Ray has not said yet how its application is",
        ),
        (
            {
                "activeServiceStatus": {
                    "rayClusterName": release.ACTIVE,
                    "applicationStatuses": {"codegemma": {"status": "DEPLOY_FAILED", "message": "no such file"}},
                }
            },
            "application codegemma is DEPLOY_FAILED: no such file",
        ),
    ],
)
def test_what_a_rollout_waits_for(api: KubernetesApi, cluster: Run, status: dict[str, Any], text: str) -> None:
    api.add("ray.io/v1/rayservices", release.service(**status))
    assert json.loads(cluster("status", "--json").stdout)["rollout"] == {"done": False, "text": text}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ("2026-01-01T00:00:10Z", "warning: cannot create it (Ready is false: RayService is initializing)"),
        ("2026-01-01T00:00:11Z", "Ready is false: RayService is initializing"),
    ],
)
def test_a_warning_explains_a_rollout_unless_the_manifest_is_newer(
    api: KubernetesApi, cluster: Run, changed: str, text: str
) -> None:
    initializing = release.condition("Ready", "False", "Initializing", "RayService is initializing")
    service = release.service(conditions=[initializing])
    service["metadata"]["managedFields"] = [
        {"manager": "codegemma", "time": changed},
        {"manager": "kuberay-operator", "time": "2026-01-01T00:00:59Z", "subresource": "status"},
    ]
    api.add("ray.io/v1/rayservices", service)
    for number, (second, message) in enumerate((("10", "cannot create it"), ("05", "an older one"))):
        time = f"2026-01-01T00:00:{second}Z"
        api.add("v1/events", release.warning("RayService", release.RELEASE, message, number, lastTimestamp=time))
    assert json.loads(cluster("status", "--json").stdout)["rollout"] == {"done": False, "text": text}


def test_watch_goes_on_until_ctrl_c(installed: KubernetesApi, cluster: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = iter([None, None])

    def pause(_seconds: float) -> None:
        if next(pauses, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("serving.cli.cluster_status.sleep", pause)  # not of all threads
    result = cluster("status", "--watch")
    assert result.exit_code == 0
    services = installed["get /apis/ray.io/v1/namespaces/codegemma/rayservices"]
    assert len(services) == 3


def test_a_live_table_is_no_json(cluster: Run) -> None:
    result = cluster("status", "--watch", "--json")
    assert result.exit_code == 2 and "use only one" in result.stderr
