"""Deploys the real service to a running cluster, when all its nodes are there: ADDRESS NODES.

There is a Gateway and a steered group for each node that serves.
"""

import sys
import time

import ray
from ray import serve

from serving.app import application
from tests.free_port import free_port
from tests.service.ray_nodes import LONG_S
from tests.service.simulated_group import simulated_service
from tests.service.steered_group import SteeredGroup

address, nodes = sys.argv[1], int(sys.argv[2])
ray.init(address=address)
while sum(node["Alive"] for node in ray.nodes()) < nodes + 1:  # and the head
    time.sleep(0.1)
serve.start(
    http_options={"host": "127.0.0.1", "port": free_port()},
    grpc_options={
        "port": free_port(),
        "grpc_servicer_functions": ["serving.gateway.grpc.servicers.add_services"],
    },
)
limits = {"max_rows": 16, "max_context": 8192, "kv_tokens": 16 * 8192, "max_queue": 1000}
config = simulated_service("simulated", limits, nodes, replicas=nodes, drain_timeout_s=LONG_S)
gateway = config.gateway.model_copy(update={"request_timeout_s": LONG_S})
serve.run(application(config.model_copy(update={"gateway": gateway}), SteeredGroup), name="simulated")
