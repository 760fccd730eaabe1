import pytest
import yaml

from serving.config import GatewayConfig
from serving.gateway.quotas.redis import PASSWORD_VARIABLE
from serving.servers.ray_environment import gateway_environment
from tests.helm.chart import (
    CASE,
    CASES,
    CHART,
    HELMS,
    Case,
    Object,
    merged,
    ray_service,
    serve_config,
    template,
    worker_groups,
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ray_serve_and_the_service_accept_the_config(case: Case) -> None:
    from ray.serve.schema import ServeDeploySchema

    from serving.config import ServingConfig

    (application,) = ServeDeploySchema.model_validate(serve_config(case)).applications
    assert application.import_path == "serving.app:build"
    config = ServingConfig.model_validate(application.args)
    assert config.gateway.anyone == (case.name == "anyone")
    assert (config.gateway.keys_file is None) == (case.name in ("anyone", "tokens"))


def test_gateways_alone_have_the_password_of_the_limits_redis() -> None:
    groups = worker_groups(CASE["quotas"])
    reference = {"secretKeyRef": {"name": "redis", "key": "password"}}
    for name, group in groups.items():
        (container,) = (each for each in group["template"]["spec"]["containers"] if each["name"] == "ray-worker")
        found = [each for each in container["env"] if each["name"] == PASSWORD_VARIABLE]
        assert found == ([{"name": PASSWORD_VARIABLE, "valueFrom": reference}] if name == "gateway" else [])


def test_the_config_is_that_of_local_runs_but_for_where_it_listens_and_how_it_is_replaced() -> None:
    from serving.cli.serve_file import demo_file

    local: Object = yaml.safe_load(demo_file().read_text())
    config = serve_config(CASE["demo"])
    assert config["http_options"] == {**local["http_options"], "host": "0.0.0.0"}
    assert config["grpc_options"] == local["grpc_options"]
    assert config["proxy_location"] == local["proxy_location"]
    (application,), (local_application,) = config["applications"], local["applications"]
    [model], [local_model] = application["args"]["models"], local_application["args"]["models"]
    assert model == local_model | {"max_surge_percent": 100}  # a cluster has room for a second group
    assert application.keys() - local_application.keys() == {"deployments"}


def test_gateways_keep_their_options_beside_the_resource_that_places_them() -> None:
    (gateway,) = serve_config(CASE["demo"])["applications"][0]["deployments"]
    options = gateway["ray_actor_options"]
    assert gateway.keys() == {"name", "ray_actor_options"}
    assert options["runtime_env"] == {"env_vars": gateway_environment(GatewayConfig())}
    offered = yaml.safe_load(worker_groups(CASE["demo"])["gateway"]["rayStartParams"]["resources"].strip("'"))
    assert options["resources"].keys() == offered.keys()


def test_large_numbers_stay_whole() -> None:
    gateway = {"max_body_bytes": 123456789, "request_timeout_s": 1234567}
    case = Case("large", ("demo",), merged(CASE["demo"].values, {"serving": {"gateway": gateway}}))
    for helm in HELMS:
        text = template(helm, case).stdout
        assert "max_body_bytes: 123456789\n" in text
        assert '"RAY_SERVE_GRPC_MAX_MESSAGE_SIZE":"123456789"' in text  # gRPC has the same limit
        assert "rayClusterDeletionDelaySeconds: 1234627\n" in text


def test_the_service_gets_its_settings_as_they_were_given() -> None:
    profile = yaml.safe_load((CHART / "values-gpu.yaml").read_text())
    assert serve_config(CASE["gpu"])["applications"][0]["args"]["models"] == profile["serving"]["models"]


@pytest.mark.parametrize(
    ("name", "group", "resources"),
    [
        ("gpu", "gateway", {"CPU": 0, "codegemma-gateway": 1}),
        ("gpu", "gpu", {"CPU": 8, "GPU": 1}),
        ("demo", "cpu", {"CPU": 4}),
        ("tpu-2x4-one-host", "slices", {"CPU": 8, "TPU": 8, "TPU-v5litepod-8-head": 1, "codegemma-workers-slices": 8}),
        ("tpu-4x4", "slices", {"CPU": 8, "TPU": 4, "TPU-v5litepod-16-head": 1}),
    ],
)
def test_rays_autoscaler_reads_what_a_group_offers(name: str, group: str, resources: Object) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = ray_service(CASE[name])["spec"]["rayClusterConfig"]
    made = {"metadata": {"name": "codegemma-x", "namespace": "codegemma"}, "spec": cluster}
    types = _derive_autoscaling_config_from_ray_cr(made)["available_node_types"]
    found = types[group]["resources"]
    assert {key: value for key, value in found.items() if key != "memory"} == resources
    assert types["headgroup"]["resources"]["CPU"] == 0
    spec = worker_groups(CASE[name])[group]
    assert types[group]["max_workers"] == spec["maxReplicas"] * spec.get("numOfHosts", 1)
