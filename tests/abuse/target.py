"""Target: the running service that the hostile inputs go to."""

from dataclasses import dataclass
from enum import StrEnum

import psutil
from ray.serve._private.constants import (
    RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT,
    RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT,
    RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT,
    RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT,
)

from serving.supervision.processes import service_processes
from tests.service.ray_cluster import Addresses

HOST = "127.0.0.1"


class Door(StrEnum):
    """A port at which the service can be reached: HAProxy's, or a Gateway's own behind it."""

    HTTP = "HTTP"
    GRPC = "gRPC"
    DIRECT_HTTP = "a Gateway's HTTP"
    DIRECT_GRPC = "a Gateway's gRPC"


@dataclass(frozen=True)
class Target:
    """A service of one Gateway.

    Attributes:
      ports: where each door is. A Gateway's are missing where they are no TCP ports.
      gateway: its process.
      max_body_bytes: the limit that the service sets.
      slow_limit_s: within this time it ends a connection on which nothing, or little, comes.
    """

    ports: dict[Door, int]
    metrics_url: str
    gateway: psutil.Process
    max_body_bytes: int
    slow_limit_s: float = 90.0

    @classmethod
    def find(cls, addresses: Addresses, max_body_bytes: int) -> "Target":
        """The service that this process started and that listens there."""
        (gateway,) = service_processes()["Gateway"]
        listening = {
            connection.laddr.port
            for connection in gateway.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        ports = {
            Door.HTTP: int(addresses.url.rpartition(":")[2]),
            Door.GRPC: int(addresses.grpc_target.rpartition(":")[2]),
        }
        for door, first, last in (
            (Door.DIRECT_HTTP, RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT, RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT),
            (Door.DIRECT_GRPC, RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT, RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT),
        ):
            if found := sorted(port for port in listening if first <= port <= last):
                ports[door] = found[0]  # the lowest that was free; what lies beyond may be a port of Ray's own
        return cls(ports, addresses.metrics_url, gateway, max_body_bytes)
