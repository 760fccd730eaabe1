"""The environment of Ray's processes."""

import math
from pathlib import Path

from serving.config import ServingConfig
from serving.servers.ray_environment import RAY_ENVIRONMENT, WITHOUT_HEAD, haproxy_files
from tests.helm.chart import CASE, RELEASE, Case, every_case, pods, ray_service, rendered, serve_config, worker_groups
from tests.helm.containers import autoscaler


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
    for container in (*ray, autoscaler(case)):
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


def test_a_haproxy_that_was_replaced_lives_as_long_as_in_local_runs_unless_requests_may_take_longer() -> None:
    name = "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"
    for case, expected in (("gpu", RAY_ENVIRONMENT[name]), ("long-requests", "931")):
        container = worker_groups(CASE[case])["gateway"]["template"]["spec"]["containers"][0]
        assert {"name": name, "value": expected} in container["env"]


def test_ray_gets_further_environment_of_the_values() -> None:
    container = worker_groups(CASE["environment"])["gpu"]["template"]["spec"]["containers"][0]
    assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"} in container["env"]
