"""`ha`: the loss of any one machine takes no model, no role and neither protocol away."""

from typing import Any

import pytest
import yaml

from serving.config import ModelConfig, ServingConfig
from tests.helm.chart import (
    CASE,
    CASES,
    Case,
    Object,
    merged,
    of_kind,
    pods,
    rendered,
    selects,
    serve_config,
    template,
    worker_groups,
)

_HA = [case for case in CASES if "ha" in case.profiles]
every_ha_case = pytest.mark.parametrize("case", _HA, ids=str)
_HOST = "kubernetes.io/hostname"


def _models(config: Object) -> list[ModelConfig]:
    return list(ServingConfig.model_validate(config["applications"][0]["args"]).models)


def _least(model: ModelConfig) -> int:
    return model.replicas if model.autoscaling is None else model.autoscaling.min_replicas


def _pods_a_machine(spread: Object, replicas: int) -> int:
    """How many of these pods one machine has at most, if two machines can take them."""
    assert spread["whenUnsatisfiable"] == "DoNotSchedule" and spread["minDomains"] == 2
    assert spread["nodeTaintsPolicy"] == "Honor"  # else machines with accelerators would count as empty ones
    most: int = min(spread["maxSkew"], replicas)
    return most


def _over_hosts(pod: Object) -> Object:
    """The constraint that must hold."""
    found: list[Object] = [
        each
        for each in pod["spec"]["topologySpreadConstraints"]
        if each["topologyKey"] == _HOST and each["whenUnsatisfiable"] == "DoNotSchedule"
    ]
    return found[0]


@every_ha_case
def test_each_model_has_two_groups_and_never_both_in_one_pod(case: Case) -> None:
    config = serve_config(case)
    deployments = {each["name"]: each for each in config["applications"][0]["deployments"]}
    for model in _models(config):
        assert _least(model) >= 2, model.id
        if model.topology.hosts == 1:  # else each has a slice of its own
            assert deployments[model.id]["max_replicas_per_node"] == 1


@every_ha_case
def test_worker_groups_have_two_groups_worth_of_pods_on_different_machines(case: Case) -> None:
    for name, group in worker_groups(case).items():
        if name == "gateway":
            continue
        assert 2 <= group["minReplicas"] <= group["maxReplicas"], name
        (rule,) = group["template"]["spec"]["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert rule["topologyKey"] == _HOST
        for other, pod, _ in pods(rendered(case)):  # a model's groups may be in pods of two worker groups
            matches = selects(rule["labelSelector"], pod["metadata"]["labels"])
            assert matches == (pod["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"), other


def test_pods_that_are_always_there_hold_two_groups_of_each_model() -> None:
    assert {name: group["minReplicas"] for name, group in worker_groups(CASE["gpu-ha"]).items()} == {
        "gateway": 3,
        "gpu": 4,
    }
    assert {name: group["minReplicas"] for name, group in worker_groups(CASE["tpu-v5e-ha"]).items()} == {
        "gateway": 3,
        "v5e-1x1": 2,
        "v5e-2x2": 2,
    }


@every_ha_case
def test_one_machine_has_never_all_gateways(case: Case) -> None:
    group = worker_groups(case)["gateway"]
    spread = _over_hosts(group["template"])
    assert _pods_a_machine(spread, group["minReplicas"]) < group["minReplicas"]
    assert spread["matchLabelKeys"] == ["ray.io/cluster"]


def test_one_machine_has_never_all_envoys() -> None:
    for replicas in (2, 3):
        values = {"edge": {"envoy": {"enabled": True, "tlsSecret": "tls", "replicas": replicas}}}
        case = Case("envoys", ("gpu", "ha"), merged(CASE["gpu-ha"].values, values))
        objects = [each for each in yaml.safe_load_all(template("helm4", case).stdout) if each]
        envoy = of_kind(objects, "Deployment")["codegemma-envoy"]["spec"]
        assert _pods_a_machine(_over_hosts(envoy["template"]), envoy["replicas"]) < envoy["replicas"]


@every_ha_case
def test_the_state_of_rays_head_is_not_on_its_machine(case: Case) -> None:
    (service,) = of_kind(rendered(case), "RayService").values()
    options = service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options.get("redisAddress") or options["storage"]


@every_ha_case
def test_budgets_leave_all_but_one_group_of_each_kind(case: Case) -> None:
    budgets = of_kind(rendered(case), "PodDisruptionBudget")
    for name, group in worker_groups(case).items():
        budget = budgets["codegemma-gateway" if name == "gateway" else f"codegemma-worker-{name}"]
        assert budget["spec"]["minAvailable"] == group["minReplicas"] * group.get("numOfHosts", 1) - 1


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        ({"autoscaling": {"min_replicas": 0, "max_replicas": 1}}, 2, 2),
        ({"autoscaling": {"min_replicas": 3, "max_replicas": 5}}, 3, 5),
        ({"replicas": 1}, 2, None),
        ({"replicas": 4}, 4, None),
        ({}, 2, None),
    ],
)
def test_more_groups_than_two_stay(given: dict[str, Any], least: int, most: int | None) -> None:
    model = {"id": "model", "checkpoint": "/models/model", "roles": ["fim"], "topology": {"accelerator": "gpu"}} | given
    case = Case("models", ("gpu", "ha"), merged(CASE["gpu-ha"].values, {"serving": {"models": [model]}}))
    objects = [each for each in yaml.safe_load_all(template("helm4", case).stdout) if each]
    (service,) = of_kind(objects, "RayService").values()
    (found,) = _models(yaml.safe_load(service["spec"]["serveConfigV2"]))
    assert _least(found) == least
    assert most is None or (found.autoscaling is not None and found.autoscaling.max_replicas == most)


def test_a_model_that_could_be_without_a_group_is_missed_when_it_is() -> None:
    model = {"id": "model", "checkpoint": "/models/model", "roles": ["fim"], "topology": {"accelerator": "gpu"}}
    scaling = {"autoscaling": {"min_replicas": 0, "max_replicas": 4}}
    values = merged(CASE["monitoring"].values, {"serving": {"models": [model | scaling]}})
    for enabled in (True, False):
        case = Case("idle", ("gpu", "ha"), merged(values, {"highAvailability": {"enabled": enabled}}))
        assert ('model!~"model"' in template("helm4", case).stdout) != enabled


def test_without_it_nothing_is_added() -> None:
    for name in ("gpu", "demo", "tpu-v5e"):
        groups = worker_groups(CASE[name]).values()
        assert not any("affinity" in group["template"]["spec"] for group in groups)
        deployments = serve_config(CASE[name])["applications"][0]["deployments"]
        assert [each["name"] for each in deployments] == ["Gateway"]
