"""The real service around simulated groups, on this machine, for one benchmark."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.ray_environment import RAY_ENVIRONMENT

os.environ.update(RAY_ENVIRONMENT)  # before Ray Serve is first imported

import ray
from ray import serve

from bench.simulated import STEP_S, SimulatedGroup, simulated_service
from serving.app import application

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Addresses:
    """Where the service listens."""

    url: str
    grpc_target: str


@contextmanager
def cluster(step_s: float) -> Iterator[Addresses]:
    """Ray and Ray Serve, with groups that take `step_s` seconds for a step."""
    http_port, grpc_port = _free_port(), _free_port()
    environment = {STEP_S: str(step_s), "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "protos")])}
    ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    try:
        serve.start(
            http_options={"host": "127.0.0.1", "port": http_port},
            grpc_options={
                "port": grpc_port,
                "grpc_servicer_functions": ["serving.gateway.grpc.servicers.add_services"],
                "enable_reflection": False,
            },
            logging_config={"enable_access_log": False},
        )
        yield Addresses(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}")
        serve.shutdown()
    finally:
        ray.shutdown()


def deploy(*, groups: int, rows: int) -> None:
    """Starts the service with so many groups, or changes it to that."""
    limits = {"max_rows": rows, "max_context": 512, "kv_tokens": 512 * rows, "max_queue": 1000}
    config = simulated_service("simulated", limits, replicas=groups, drain_timeout_s=5)
    serve.run(application(config, SimulatedGroup), name="simulated")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
