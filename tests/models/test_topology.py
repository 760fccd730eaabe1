"""Topologies: what Ray reserves for a group, and what is refused."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from serving.models.topology import Topology

V5E: Final = "tpu-v5litepod"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chips_per_host": 4, "tensor_parallel": 2}, r"hosts=1 x chips_per_host=4 are 4 chips: 2 would be idle"),
        ({"hosts": 2, "tensor_parallel": 4}, r"hosts=2 x chips_per_host=1 are 2 chips: 2 are missing"),
        ({"accelerator": V5E, "chips_per_host": 2}, r"chips_per_host=2: a v5e host has 1, 4 or 8 chips"),
        ({"accelerator": V5E, "hosts": 2, "chips_per_host": 8}, r"several have 4 chips each"),
        ({"accelerator": V5E, "hosts": 3, "chips_per_host": 4}, r"12 chips: there is no such.*2x4 \(2 hosts\), 4x4"),
        ({"accelerator": "v5e"}, r"'cpu', 'gpu' or 'tpu-v5litepod'"),
        ({"hosts": 0}, r"greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Topology.model_validate(fields)


def test_the_model_is_split_over_all_chips() -> None:
    assert Topology().tensor_parallel == 1
    assert Topology(hosts=2, chips_per_host=4).tensor_parallel == 8


@pytest.mark.parametrize(
    ("topology", "options"),
    [
        (Topology(), {"resources": {"rack": 1}}),
        (Topology(accelerator="gpu", chips_per_host=2), {"num_gpus": 2, "resources": {"rack": 1}}),
        (Topology(accelerator=V5E, chips_per_host=4), {"resources": {"rack": 1, "TPU": 4}}),
    ],
    ids=str,
)
def test_one_host_is_the_replica_itself(topology: Topology, options: dict[str, Any]) -> None:
    assert topology.deployment_options({"resources": {"rack": 1}}) == {"ray_actor_options": options}


def test_several_hosts_have_a_bundle_each_after_the_leaders() -> None:
    options = Topology(accelerator="gpu", hosts=2, chips_per_host=8).deployment_options({"num_cpus": 2})
    assert options["ray_actor_options"] == {"num_cpus": 2}
    assert options["placement_group_bundles"] == [{"CPU": 2}, {"CPU": 1, "GPU": 8}, {"CPU": 1, "GPU": 8}]


def test_a_slice_of_several_hosts_is_left_to_the_replica() -> None:
    topology = Topology(accelerator=V5E, hosts=2, chips_per_host=4)
    assert topology.reserves_slice
    assert topology.deployment_options({}) == {"ray_actor_options": {}}


@pytest.mark.parametrize(
    ("topology", "name"),
    [
        (Topology(), "1 CPU device"),
        (Topology(hosts=2, chips_per_host=4), "2 hosts x 4 CPU devices"),
        (Topology(accelerator="gpu", chips_per_host=2), "2 GPUs"),
        (Topology(accelerator=V5E, chips_per_host=4), "2x2"),
        (Topology(accelerator=V5E, hosts=2, chips_per_host=4), "2x4"),
    ],
)
def test_its_name_in_logs(topology: Topology, name: str) -> None:
    assert str(topology) == name
