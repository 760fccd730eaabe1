"""Deploys the real service around a simulated group to a running cluster: ADDRESS HTTP_PORT GRPC_PORT."""

import sys

import ray
from ray import serve

from bench.simulated_service import deploy

address, http_port, grpc_port = sys.argv[1:]
ray.init(address=address)
serve.start(
    http_options={"host": "127.0.0.1", "port": int(http_port)},
    grpc_options={
        "port": int(grpc_port),
        "grpc_servicer_functions": ["serving.gateway.grpc.servicers.add_services"],
    },
)
deploy(groups=1, rows=8)
