"""Reserving TPU slices, on Ray's cluster of several nodes in one machine that say they have TPUs."""

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from serving.group import slice as slice_module
from serving.group.slice import reserved_slice
from serving.topology import Topology

TOPOLOGY = Topology(accelerator="tpu-v5litepod", hosts=2, chips_per_host=4)
SLICE = "slice-a"


@pytest.fixture(scope="module")
def slice_of_two_hosts() -> Iterator[None]:
    if ray.is_initialized():
        pytest.skip("another cluster of this run is in use")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for worker in range(2):
        cluster.add_node(
            num_cpus=1,
            resources={"TPU": 4} | ({"TPU-v5litepod-8-head": 1} if worker == 0 else {}),
            labels={
                "ray.io/tpu-slice-name": SLICE,
                "ray.io/tpu-worker-id": str(worker),
                "ray.io/tpu-topology": "2x4",
                "ray.io/tpu-pod-type": "v5litepod-8",
            },
            env_vars={"TPU_NAME": SLICE, "TPU_WORKER_ID": str(worker), "TPU_ACCELERATOR_TYPE": "v5litepod-8"},
        )
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@ray.remote(num_cpus=0, resources={"TPU": 4})
def node() -> tuple[str, str]:
    labels = ray.get_runtime_context().get_node_labels()
    return labels["ray.io/tpu-slice-name"], labels["ray.io/tpu-worker-id"]


def nodes(group: PlacementGroup) -> list[tuple[str, str]]:
    strategies = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank) for rank in range(2)]
    return ray.get([node.options(scheduling_strategy=strategy).remote() for strategy in strategies])


def test_hosts_are_placed_on_the_slice_which_is_given_back(
    slice_of_two_hosts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # the second time only if the first has given it back
        with reserved_slice(TOPOLOGY) as group:
            assert sorted(nodes(group)) == [(SLICE, "0"), (SLICE, "1")]
            assert ray.available_resources().get("TPU", 0) == 0
    monkeypatch.setattr(slice_module, "RESERVATION_TIMEOUT_S", 1.0)
    with reserved_slice(TOPOLOGY), pytest.raises(TimeoutError), reserved_slice(TOPOLOGY):
        pass
