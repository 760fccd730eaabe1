"""One cluster for all tests of the whole service: Ray Serve, HAProxy, Gateway and two tiny models."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.ray_environment import RAY_ENVIRONMENT

os.environ.update(RAY_ENVIRONMENT)  # before Ray Serve is first imported

import grpc
import pytest
import ray
from ray import serve

from serving.app import build
from serving.engine.engine import EngineStats
from tests.service.tiny_codegemma import write_tiny_codegemma

FIM = "codegemma-tiny"
CHAT = "codegemma-tiny-it"
_APP = "codegemma"


@dataclass(frozen=True)
class Service:
    """The running service's addresses, and a look into its engines."""

    url: str
    grpc_target: str

    def stats(self, model: str) -> EngineStats:
        """Where the engine of a model stands."""
        [stats] = serve.get_deployment_handle(model, _APP).broadcast("stats").results(timeout_s=30)
        return stats

    def recompilations(self, model: str) -> int:
        """Compilations of a model's steps after it was ready."""
        [count] = serve.get_deployment_handle(model, _APP).broadcast("recompilations").results(timeout_s=30)
        return count


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    checkpoint = str(write_tiny_codegemma(tmp_path_factory.mktemp("codegemma-tiny")))
    limits = {"max_rows": 4, "max_step_tokens": 64, "max_context": 4096, "page_size": 32, "kv_tokens": 16384}
    models = [
        {"id": FIM, "checkpoint": checkpoint, "roles": ["fim"], "dtype": "float32", "limits": limits},
        {"id": CHAT, "checkpoint": checkpoint, "roles": ["chat"], "dtype": "float32", "limits": limits},
    ]
    http_port, grpc_port = free_port(), free_port()
    worker_env = {"XLA_FLAGS": "", "PYTHONPATH": os.pathsep.join(_import_roots())}
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": worker_env})
    try:
        serve.start(
            http_options={"host": "127.0.0.1", "port": http_port},
            grpc_options={
                "port": grpc_port,
                "grpc_servicer_functions": ["serving.gateway.grpc.servicers.add_services"],
                "enable_reflection": False,
            },
        )
        serve.run(build({"models": models}), name=_APP)
        yield Service(url=f"http://127.0.0.1:{http_port}", grpc_target=f"127.0.0.1:{grpc_port}")
        serve.shutdown()
    finally:
        ray.shutdown()


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.grpc_target) as channel:
        yield channel


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _import_roots() -> list[str]:
    root = Path(__file__).parents[2]
    return [str(root), str(root / "protos")]
