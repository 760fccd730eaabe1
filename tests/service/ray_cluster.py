"""Ray and Ray Serve on this machine, for one benchmark or one session of tests."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.servers.ray_environment import RAY_ENVIRONMENT
from tests.free_port import free_port

os.environ.update(RAY_ENVIRONMENT)  # before Ray Serve is first imported

import ray
from ray import serve

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    """Where the service listens."""

    url: str
    grpc_target: str
    metrics_url: str


@contextmanager
def cluster(environment: Mapping[str, str] | None = None) -> Iterator[Addresses]:
    """Ray Serve, with nothing deployed yet and these variables in the environment of every process."""
    http_port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    # Tests make eight devices of a processor; groups take what their topology says.
    variables = {"XLA_FLAGS": "", "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "protos")])}
    ray.init(
        address="local",
        num_cpus=16,  # logical ones: what is started here mostly waits
        include_dashboard=False,
        _metrics_export_port=metrics_port,
        _system_config={"metrics_report_interval_ms": 1000},  # Ray's own is ten seconds
        log_to_driver=False,
        runtime_env={"env_vars": variables | dict(environment or {})},
    )
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
        yield Addresses(
            url=f"http://127.0.0.1:{http_port}",
            grpc_target=f"127.0.0.1:{grpc_port}",
            metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
        )
        serve.shutdown()
    finally:
        ray.shutdown()


def ports_beside_another() -> dict[str, str]:
    """Environment variables for a process whose cluster runs beside one of this process: ports that Ray Serve fixes."""
    return {
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": "31500",
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": "31900",
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": "41500",
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": "41900",
    }
