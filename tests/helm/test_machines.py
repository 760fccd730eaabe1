"""Machine types of GKE: what a pod of each profile asks for fits one, and chips are a slice of it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from serving.config import ServingConfig
from tests.helm.chart import (
    CASE,
    CASES,
    CHART,
    PROFILES,
    ROOT,
    Case,
    Object,
    merged,
    serve_config,
    template,
    worker_groups,
)

_SYSTEM_CPU, _SYSTEM_GIB = 0.7, 1.5
"""What GKE's own pods of each node ask for, about: network, logs, metrics, drivers."""


@dataclass(frozen=True)
class Machine:
    """A machine type, by cloud.google.com/compute/docs and cloud.google.com/tpu/docs/v5e.

    Attributes:
      memory: GiB.
      chips: TPU chips or GPUs.
    """

    cpus: int
    memory: int
    chips: int

    def room(self) -> tuple[float, float]:
        """CPUs and GiB that a node leaves to pods: cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes."""
        cpu = 0.06 + 0.01 + 0.005 * 2 + 0.0025 * (self.cpus - 4)
        memory = 0.25 * 4 + 0.2 * 4 + 0.1 * 8
        memory += 0.06 * (min(self.memory, 128) - 16) + 0.02 * max(self.memory - 128, 0) + 0.1
        return self.cpus - cpu - _SYSTEM_CPU, self.memory - memory - _SYSTEM_GIB


MACHINES = {
    "ct5lp-hightpu-1t": Machine(24, 48, 1),
    "ct5lp-hightpu-4t": Machine(112, 192, 4),
    "ct5lp-hightpu-8t": Machine(224, 384, 8),
    "g2-standard-12": Machine(12, 48, 1),
    "a3-highgpu-1g": Machine(26, 234, 1),
}
_OF_TPUS = {1: "ct5lp-hightpu-1t", 4: "ct5lp-hightpu-4t", 8: "ct5lp-hightpu-8t"}


def _machine(group: Object) -> str:
    selector = group["template"]["spec"].get("nodeSelector", {})
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    if "google.com/tpu" in limits:
        return _OF_TPUS[limits["google.com/tpu"]]
    assert selector["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    return "g2-standard-12"


def _gib(quantity: str) -> float:
    return float(quantity.removesuffix("Gi")) if quantity.endswith("Gi") else float(quantity.removesuffix("Mi")) / 1024


def _cpus(quantity: object) -> float:
    text = str(quantity)
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _asked(group: Object) -> tuple[float, float]:
    """CPUs and GiB of a pod, with what runs beside Ray."""
    spec = group["template"]["spec"]
    beside = [each for each in spec["initContainers"] if each.get("restartPolicy") == "Always"]
    limits = [each["resources"]["limits"] for each in (*spec["containers"], *beside)]
    return sum(_cpus(each["cpu"]) for each in limits), sum(_gib(each["memory"]) for each in limits)


def _accelerated(case: Case) -> dict[str, Object]:
    return {
        name: group
        for name, group in worker_groups(case).items()
        if {"google.com/tpu", "nvidia.com/gpu"}
        & group["template"]["spec"]["containers"][0]["resources"]["limits"].keys()
    }


@pytest.mark.parametrize("case", [case for case in PROFILES if case.name != "demo"], ids=str)
def test_a_pod_fits_the_machine_that_its_profile_is_for(case: Case) -> None:
    for name, group in _accelerated(case).items():
        cpus, memory = _asked(group)
        most_cpus, most_memory = MACHINES[_machine(group)].room()
        assert cpus <= most_cpus and memory <= most_memory, name


def test_the_machines_of_the_docs_have_room_for_what_they_recommend() -> None:
    lines = (ROOT / "docs" / "kubernetes.md").read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    cells = {row[0]: row for row in rows if row[0] in MACHINES}
    assert cells.keys() == MACHINES.keys()
    for name, (_, _, size, asked, *_) in cells.items():
        cpus, memory = asked.split(", ")
        most_cpus, most_memory = MACHINES[name].room()
        assert size == f"{MACHINES[name].cpus}, {MACHINES[name].memory} GB"
        assert float(cpus) + 0.05 <= most_cpus and _gib(memory) + 0.1 <= most_memory, name


def _tpu_models(case: Case) -> list[Any]:
    config = ServingConfig.model_validate(serve_config(case)["applications"][0]["args"])
    return [model for model in config.models if model.topology.platform == "tpu"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_groups_of_several_chips_get_all_chips_of_their_host(case: Case) -> None:
    """Ray hands out any chips that are free, and libtpu wants them to be a slice."""
    offers = {
        name: json.loads(group["rayStartParams"]["resources"].strip("'"))
        for name, group in worker_groups(case).items()
        if "resources" in group["rayStartParams"] and name != "gateway"
    }
    for model in _tpu_models(case):
        if model.topology.hosts > 1:
            continue  # a whole slice, which the group reserves
        wanted = model.topology.deployment_options(model.ray_actor_options)["ray_actor_options"]["resources"]
        assert wanted.pop("TPU") == model.topology.chips_per_host
        ((resource, chips),) = wanted.items()
        (home,) = (name for name, offered in offers.items() if resource in offered)
        limits = worker_groups(case)[home]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert offers[home] == {resource: limits["google.com/tpu"]}
        assert chips == limits["google.com/tpu"] if chips > 1 else worker_groups(case)[home]["numOfHosts"] == 1


def test_a_group_of_one_chip_takes_none_of_a_larger_slice_if_there_is_one_of_its_own() -> None:
    resources = {model.id: model.ray_actor_options["resources"] for model in _tpu_models(CASE["tpu-v5e"])}
    assert resources == {
        "codegemma-2b": {"codegemma-workers-v5e-1x1": 1},
        "codegemma-7b-it": {"codegemma-workers-v5e-2x2": 4},
    }


def test_own_actor_options_stay() -> None:
    options = {"num_cpus": 3, "resources": {"fast-disk": 1}}
    profile: Object = yaml.safe_load((CHART / "values-tpu-v5e.yaml").read_text())
    models = [merged(profile["serving"]["models"][0], {"ray_actor_options": options})]
    case = Case("own-options", ("tpu-v5e",), merged(CASE["tpu-v5e"].values, {"serving": {"models": models}}))
    documents = [each for each in yaml.safe_load_all(template("helm4", case).stdout) if each]
    (service,) = (each for each in documents if each["kind"] == "RayService")
    (model,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]["models"]
    assert model["ray_actor_options"] == merged(options, {"resources": {"codegemma-workers-v5e-1x1": 1}})
