"""What containers may do and take, and how they are asked."""

from serving.config import ServingConfig
from tests.helm.chart import CASE, RELEASE, Case, every_case, pods, ray_service, rendered, serve_config, worker_groups
from tests.helm.containers import autoscaler, containers


@every_case
def test_every_container_says_what_it_needs_and_may_take(case: Case) -> None:
    every = [each for _, pod, _ in pods(rendered(case)) for each in containers(pod)]
    for each in (*every, autoscaler(case)):
        disk = {"ephemeral-storage"}  # requested only: a limit would evict
        requests = {name: amount for name, amount in each["resources"]["requests"].items() if name not in disk}
        assert requests == each["resources"]["limits"], each["name"]
        assert {"cpu", "memory"} <= each["resources"]["limits"].keys(), each["name"]


@every_case
def test_every_lasting_container_is_probed(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        if pod["spec"].get("restartPolicy") == "Never":
            continue  # a test's pod, or one that converts
        for container in containers(pod, init=False):
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
    every = [each for _, pod, _ in pods(rendered(case)) for each in containers(pod)]
    for each in (*every, autoscaler(case)):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, each["name"]


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


@every_case
def test_kubectl_logs_shows_what_ray_serve_logs(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        if not name.startswith(RELEASE):
            assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "logs"
            (logs,) = (each for each in pod["spec"]["initContainers"] if each["name"] == "logs")
            assert logs["restartPolicy"] == "Always"


@every_case
def test_only_gateway_pods_have_a_port_of_haproxys_metrics(case: Case) -> None:
    for name, pod, _ in pods([ray_service(case)]):
        ports = {port["name"] for each in containers(pod) for port in each.get("ports", [])}
        assert ("haproxy-metrics" in ports) == (name == "gateway"), name
        assert "metrics" in ports
