"""Deploys the real service to a running cluster, when all its nodes are there: ADDRESS NODES.

There is a Gateway and a simulated group for each node that serves.
"""

import sys
import time

import ray
from ray import serve

from bench.cluster import free_port
from bench.simulated_service import deploy

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
deploy(gateways=nodes, groups=nodes, rows=8)
