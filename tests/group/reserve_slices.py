"""Reserves a TPU slice three times on Ray's cluster of several nodes in one machine, and prints what came of it.

A process of its own: a test that shares Ray with others cannot have another cluster.
"""

import json

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from serving.group import slice as slice_module
from serving.group.slice import reserved_slice
from serving.models.topology import Topology

_TOPOLOGY = Topology(accelerator="tpu-v5litepod", hosts=2, chips_per_host=4)


def main() -> None:
    """Prints JSON: of two reservations the hosts and the TPUs left, and whether one beside another is refused."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for worker in range(2):
        cluster.add_node(
            num_cpus=1,
            resources={"TPU": 4} | ({"TPU-v5litepod-8-head": 1} if worker == 0 else {}),
            labels={
                "ray.io/tpu-slice-name": "slice-a",
                "ray.io/tpu-worker-id": str(worker),
                "ray.io/tpu-topology": "2x4",
                "ray.io/tpu-pod-type": "v5litepod-8",
            },
            env_vars={"TPU_NAME": "slice-a", "TPU_WORKER_ID": str(worker), "TPU_ACCELERATOR_TYPE": "v5litepod-8"},
        )
    ray.init(address=cluster.address, log_to_driver=False)
    reserved = []
    for _ in range(2):  # the second time only if the first has given it back
        with reserved_slice(_TOPOLOGY) as group:
            reserved.append({"hosts": sorted(_hosts(group)), "left": ray.available_resources().get("TPU", 0)})
    slice_module.RESERVATION_TIMEOUT_S = 1.0
    refused = False
    try:
        with reserved_slice(_TOPOLOGY), reserved_slice(_TOPOLOGY):
            pass
    except TimeoutError:
        refused = True
    print(json.dumps({"reserved": reserved, "refused": refused}))
    ray.shutdown()
    cluster.shutdown()


@ray.remote(num_cpus=0, resources={"TPU": 4})
def _host() -> tuple[list[str], list[str]]:
    labels = ray.get_runtime_context().get_node_labels()
    return labels["ray.io/tpu-slice-name"], labels["ray.io/tpu-worker-id"]


def _hosts(group: PlacementGroup) -> list[tuple[str, str]]:
    strategies = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank) for rank in range(2)]
    return ray.get([_host.options(scheduling_strategy=strategy).remote() for strategy in strategies])


if __name__ == "__main__":
    main()
