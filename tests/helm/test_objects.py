"""What must hold for the objects of every profile and toggle."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.config import ServingConfig
from serving.ray_environment import RAY_ENVIRONMENT, WITHOUT_HEAD, haproxy_files
from tests.helm.chart import (
    CASE,
    CASES,
    RELEASE,
    Case,
    Object,
    of_kind,
    pods,
    ray_service,
    rendered,
    selects,
    serve_config,
    worker_groups,
)

every_case = pytest.mark.parametrize("case", CASES, ids=str)
_RAY_PARTS = ("head", "gateway", "worker")


def _containers(pod: Object, *, init: bool = True) -> list[Object]:
    return [*(pod["spec"].get("initContainers", []) if init else ()), *pod["spec"]["containers"]]


def _autoscaler(case: Case) -> Object:
    """What KubeRay makes the autoscaler's container of, in the head's pod."""
    options: Object = ray_service(case)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    return {"name": "autoscaler", **options}


@every_case
def test_every_container_says_what_it_needs_and_may_take(case: Case) -> None:
    containers = [each for _, pod, _ in pods(rendered(case)) for each in _containers(pod)]
    for each in (*containers, _autoscaler(case)):
        disk = {"ephemeral-storage"}  # requested only: a limit would evict
        requests = {name: amount for name, amount in each["resources"]["requests"].items() if name not in disk}
        assert requests == each["resources"]["limits"], each["name"]
        assert {"cpu", "memory"} <= each["resources"]["limits"].keys(), each["name"]


@every_case
def test_every_lasting_container_is_probed(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        if pod["spec"].get("restartPolicy") == "Never":
            continue  # a test's pod, or one that converts
        for container in _containers(pod, init=False):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


@every_case
def test_no_container_can_do_more_than_it_must(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] == security["runAsGroup"] == 1000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert key not in pod["spec"], name
        assert not any("hostPath" in volume for volume in pod["spec"]["volumes"]), name
    containers = [each for _, pod, _ in pods(rendered(case)) for each in _containers(pod)]
    for each in (*containers, _autoscaler(case)):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, each["name"]


@every_case
def test_only_the_autoscaler_can_call_the_kubernetes_api(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        tokens = {
            volume["name"]
            for volume in pod["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            if "serviceAccountToken" in source
        }
        assert tokens == ({"kubernetes-api"} if name == "head" else set())
        mounted = {mount["name"] for each in _containers(pod) for mount in each.get("volumeMounts", [])}
        assert not tokens & mounted, name
    assert "kubernetes-api" in {mount["name"] for mount in _autoscaler(case)["volumeMounts"]}


@every_case
def test_service_accounts_exist_and_have_no_rights(case: Case) -> None:
    objects = rendered(case)
    accounts = of_kind(objects, "ServiceAccount")
    for _, pod, _ in pods(objects):
        assert accounts[pod["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert not {each["kind"] for each in objects} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@every_case
def test_volumes_that_are_mounted_exist_and_none_is_left_over(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        mounted = {mount["name"] for each in _containers(pod) for mount in each.get("volumeMounts", [])}
        if name == "head":
            mounted |= {mount["name"] for mount in _autoscaler(case)["volumeMounts"]}
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


@every_case
def test_every_ray_process_gets_the_environment_of_local_runs(case: Case) -> None:
    config = ServingConfig.model_validate(serve_config(case)["applications"][0]["args"])
    elsewhere = {
        "RAY_SERVE_HAPROXY_BINARY_PATH": "/opt/codegemma/bin/codegemma-haproxy",
        **haproxy_files(Path("/tmp/codegemma")),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(math.ceil(config.gateway.request_timeout_s) + 30),
    }
    expected = RAY_ENVIRONMENT | elsewhere
    ray = [pod["spec"]["containers"][0] for name, pod, _ in pods(rendered(case)) if not name.startswith(RELEASE)]
    for container in (*ray, _autoscaler(case)):
        found = {each["name"]: each.get("value") for each in container["env"]}
        assert {key: found.get(key) for key in expected} == expected


@every_case
def test_all_but_the_head_outlast_a_head_whose_state_is_in_redis(case: Case) -> None:
    cluster = ray_service(case)["spec"]["rayClusterConfig"]
    expected = WITHOUT_HEAD if "gcsFaultToleranceOptions" in cluster else {}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        environment = group["template"]["spec"]["containers"][0]["env"]
        found = {each["name"]: each.get("value") for each in environment if each["name"] in WITHOUT_HEAD}
        assert found == ({} if group is cluster["headGroupSpec"] else expected)


@every_case
def test_selectors_match_pods_of_the_release(case: Case) -> None:
    objects = rendered(case)
    labels = {name: pod["metadata"]["labels"] for name, pod, _ in pods(objects)}
    for kind, selector in _selectors(objects):
        assert any(selects(selector, each) for each in labels.values()), (kind, selector)
    for name, service in of_kind(objects, "Service").items():
        part = "codegemma-envoy" if "envoy" in name else "gateway"
        assert [pod for pod in labels if selects(service["spec"]["selector"], labels[pod])] == [part]


def _selectors(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in objects:
        match each["kind"]:
            case "NetworkPolicy":
                yield "NetworkPolicy", each["spec"]["podSelector"]
            case "PodDisruptionBudget" | "Deployment" | "PodMonitor":
                yield each["kind"], each["spec"]["selector"]
            case "Service":
                yield "Service", each["spec"]["selector"]


@every_case
def test_services_and_routes_lead_to_ports_that_containers_have(case: Case) -> None:
    objects = rendered(case)
    all_pods = [pod for _, pod, _ in pods(objects)]
    services = of_kind(objects, "Service")
    for service in services.values():
        (pod,) = (each for each in all_pods if selects(service["spec"]["selector"], each["metadata"]["labels"]))
        declared = pod["spec"]["containers"][0]["ports"]
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert targets <= {port["containerPort"] for port in declared} | {port["name"] for port in declared}
    for name, port in _backends(objects):
        assert port in {value for each in services[name]["spec"]["ports"] for value in (each["port"], each["name"])}


def _backends(objects: list[Object]) -> Iterator[tuple[str, object]]:
    for each in objects:
        match each["kind"]:
            case "Ingress":
                for rule in each["spec"]["rules"]:
                    for path in rule["http"]["paths"]:
                        yield path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"]
            case "HTTPRoute" | "GRPCRoute":
                for rule in each["spec"]["rules"]:
                    for backend in rule["backendRefs"]:
                        yield backend["name"], backend["port"]


@every_case
def test_budgets_leave_room_for_a_node_to_be_drained(case: Case) -> None:
    objects = rendered(case)
    for budget in of_kind(objects, "PodDisruptionBudget").values():
        covered = [
            least for _, pod, least in pods(objects) if selects(budget["spec"]["selector"], pod["metadata"]["labels"])
        ]
        assert len(covered) == 1
        allowed = budget["spec"].get("maxUnavailable")
        assert allowed == 1 if allowed is not None else 0 < budget["spec"]["minAvailable"] < covered[0]


@every_case
def test_every_declared_port_is_in_a_network_policy_unless_they_are_off(case: Case) -> None:
    objects = rendered(case)
    policies = of_kind(objects, "NetworkPolicy").values()
    if case.name == "no-network-policy":
        assert not policies
        return
    for name, pod, _ in pods(objects):
        labels = pod["metadata"]["labels"]
        ingress = [
            policy["spec"].get("ingress", [])
            for policy in policies
            if "Ingress" in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], labels)
        ]
        assert [] in ingress, f"{name} is open to all by default"
        named = {port["port"] for rules in ingress for rule in rules for port in rule.get("ports", [])}
        ports = {port["containerPort"] for each in _containers(pod) for port in each.get("ports", [])}
        # By the policy that lets our own pods reach each other. 8000 is there for KubeRay; no client is sent to it.
        own_only = {6379, 8000} if name == "head" else set()
        if case.name == "nobody-scrapes":
            own_only |= {8080, 9101, 9902}
        assert ports - named <= own_only, name
        assert named <= ports, f"{name} has ports that are open and not its own"
        if labels["app.kubernetes.io/component"] in _RAY_PARTS:
            assert any(rule.get("from") and "ports" not in rule for rules in ingress for rule in rules), name


@every_case
def test_only_clients_reach_the_service_and_only_operators_the_dashboard(case: Case) -> None:
    for name, policy in of_kind(rendered(case), "NetworkPolicy").items():
        for rule in policy["spec"].get("ingress", []):
            ports = {port["port"] for port in rule.get("ports", [])}
            if ports & {8000, 9000}:
                assert name == "codegemma-clients" and ports == {8000, 9000}
            if 8265 in ports:
                assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "head"
            if ports != {8443}:
                assert rule["from"], f"{name} lets everyone in"


@pytest.mark.parametrize(
    "labels",
    [
        {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/component": "kuberay-operator"},
        {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
    ],
    ids=["by its chart", "by its kustomization"],
)
def test_kuberays_operator_reaches_the_dashboard_however_it_was_installed(labels: dict[str, str]) -> None:
    policy = of_kind(rendered(CASE["demo"]), "NetworkPolicy")["codegemma-operator"]
    (peer,) = policy["spec"]["ingress"][0]["from"]
    assert peer["namespaceSelector"] == {} and selects(peer["podSelector"], labels)


def test_clients_are_those_of_the_values() -> None:
    policy = of_kind(rendered(CASE["network-policy"]), "NetworkPolicy")["codegemma-clients"]
    callers = policy["spec"]["ingress"][0]["from"]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in callers
    assert {"podSelector": {}} not in callers


def test_gateway_pods_are_ready_by_both_protocols() -> None:
    container = worker_groups(CASE["demo"])["gateway"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["exec"]["command"][-2:] == ["8000", "9000"]
    assert {8000, 9000} <= {port["containerPort"] for port in container["ports"]}


@every_case
def test_pods_have_longer_to_end_than_what_they_do_before(case: Case) -> None:
    from serving.app import _STOP_S  # imports Ray, so not for every test

    spec = ray_service(case)["spec"]
    config = ServingConfig.model_validate(serve_config(case)["applications"][0]["args"])
    drain = max(model.drain_timeout_s for model in config.models) + _STOP_S
    for name, pod, _ in pods(rendered(case)):
        grace = pod["spec"].get("terminationGracePeriodSeconds", 0)
        stop = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {})
        if not name.startswith(RELEASE):
            assert drain < int(stop["exec"]["command"][-1]) < grace, name
        elif name == "codegemma-envoy":
            assert config.gateway.request_timeout_s <= stop["sleep"]["seconds"] < grace
    assert spec["rayClusterDeletionDelaySeconds"] > config.gateway.request_timeout_s


def test_head_runs_no_replica_and_keeps_its_state_in_redis_if_there_is_one() -> None:
    cluster = ray_service(CASE["redis"])["spec"]["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    options = {"redisAddress": "rediss://redis:6379", "redisUsername": {"value": "ray"}, "redisPassword": password}
    assert cluster["gcsFaultToleranceOptions"] == options
    assert "gcsFaultToleranceOptions" not in ray_service(CASE["demo"])["spec"]["rayClusterConfig"]


def test_ray_wants_a_token_unless_told_otherwise() -> None:
    assert ray_service(CASE["demo"])["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    assert "authOptions" not in ray_service(CASE["no-ray-token"])["spec"]["rayClusterConfig"]


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


def test_a_haproxy_that_was_replaced_lives_as_long_as_in_local_runs_unless_requests_may_take_longer() -> None:
    name = "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"
    for case, expected in (("gpu", RAY_ENVIRONMENT[name]), ("long-requests", "931")):
        container = worker_groups(CASE[case])["gateway"]["template"]["spec"]["containers"][0]
        assert {"name": name, "value": expected} in container["env"]


def test_ray_gets_further_environment_of_the_values() -> None:
    container = worker_groups(CASE["environment"])["gpu"]["template"]["spec"]["containers"][0]
    assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"} in container["env"]


@every_case
def test_kubectl_logs_shows_what_ray_serve_logs(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        if not name.startswith(RELEASE):
            assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "logs"
            (logs,) = (each for each in pod["spec"]["initContainers"] if each["name"] == "logs")
            assert logs["restartPolicy"] == "Always"


@pytest.mark.parametrize(("name", "pods", "slices"), [("tpu-2x4-two-hosts", 4, 1), ("tpu-4x4-three-slices", 12, 2)])
def test_a_budget_lets_no_more_pods_go_than_slices_may_be_lost(name: str, pods: int, slices: int) -> None:
    budget = of_kind(rendered(CASE[name]), "PodDisruptionBudget")["codegemma-worker-slices"]
    assert budget["spec"]["minAvailable"] == pods - slices  # each of them can be of another slice


def test_gpu_workers_run_on_nodes_of_their_type() -> None:
    spec = worker_groups(CASE["gpu"])["gpu"]["template"]["spec"]
    assert spec["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert spec["containers"][0]["image"] == "codegemma-serving:0.1.0-gpu"
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@every_case
def test_only_gateway_pods_have_a_port_of_haproxys_metrics(case: Case) -> None:
    for name, pod, _ in pods([ray_service(case)]):
        ports = {port["name"] for each in _containers(pod) for port in each.get("ports", [])}
        assert ("haproxy-metrics" in ports) == (name == "gateway"), name
        assert "metrics" in ports


def test_gateways_and_groups_are_kept_apart() -> None:
    groups = worker_groups(CASE["gpu"])
    assert groups["gateway"]["rayStartParams"]["num-cpus"] == "0"
    assert groups["gateway"]["rayStartParams"]["resources"] == """'{"codegemma-gateway": 1}'"""
    assert "resources" not in groups["gpu"]["rayStartParams"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gpu", {"persistentVolumeClaim": {"claimName": "codegemma-models", "readOnly": True}}),
        ("s3", {"emptyDir": {"sizeLimit": "40Gi"}}),
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
        mounts = [mount for each in _containers(group["template"]) for mount in each.get("volumeMounts", [])]
        own = [mount for mount in mounts if mount["name"] == "adapters"]
        assert own == [{"name": "adapters", "mountPath": "/adapters", "readOnly": True}]


def test_gateways_fetch_no_weights_from_a_bucket() -> None:
    groups = worker_groups(CASE["s3"])
    arguments = {name: group["template"]["spec"]["initContainers"][1]["args"] for name, group in groups.items()}
    assert "--exclude=*.safetensors" in arguments["gateway"]
    assert "--exclude=*.safetensors" not in arguments["gpu"]
    assert all("--endpoint-url=https://minio:9000" in each for each in arguments.values())


def test_keys_are_mounted_as_a_directory_so_that_changes_reach_the_pod() -> None:
    spec = worker_groups(CASE["demo"])["gateway"]["template"]["spec"]
    (mount,) = (each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "keys")
    assert mount == {"name": "keys", "mountPath": "/etc/codegemma/keys", "readOnly": True}
    assert {"name": "keys", "secret": {"secretName": "codegemma-keys"}} in spec["volumes"]


def test_labels_of_ray_pods_do_not_change_with_the_chart() -> None:
    for name, pod, _ in pods([ray_service(CASE["demo"])]):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod["metadata"]["labels"].keys(), name
