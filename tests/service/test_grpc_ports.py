"""The gRPC ports behind HAProxy: no request closes them, and a Gateway whose port is closed is replaced."""

import asyncio
import os
import time
from typing import Any

import psutil
import pytest
import ray
from codegemma.v1.code_assist_service_pb2 import CompleteRequest
from ray.serve._private.constants import (
    RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT,
    RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT,
    RAY_SERVE_FALLBACK_PROXY_GRPC_PORT,
)
from ray.util import list_named_actors

from serving.supervision.processes import service_processes
from tests.raw_http2 import call, exchange, grpc_headers, grpc_message, grpc_status
from tests.service.conftest import FIM, Service

_METHOD = b"/codegemma.v1.CodeAssistService/Complete"


def _grpc_ports() -> list[int]:
    """Where the Gateway and Ray Serve's proxy listen for HAProxy."""
    [gateway] = service_processes()["Gateway"]
    listening = {
        each.laddr.port
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.pid == gateway.pid
    }
    # The lowest of the range that was free; what lies beyond may be a port of Ray's own.
    direct = min(listening & set(range(RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT, RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT)))
    return [direct, RAY_SERVE_FALLBACK_PROXY_GRPC_PORT]


async def test_a_path_that_is_not_utf8_is_no_method_at_haproxy_and_behind_it(service: Service) -> None:
    """It ended grpcio's server for good: the Gateway's, and with the next one that of Ray Serve's proxy."""
    good = call(grpc_headers(_METHOD), grpc_message(b""))  # refused for its content
    for target in (service.grpc_target, *(f"127.0.0.1:{port}" for port in _grpc_ports())):
        for _ in range(3):
            await exchange(target, call(grpc_headers(_METHOD + b"\xff"), grpc_message(b"")))
        assert grpc_status(await exchange(target, good, timeout_s=30)) is not None, target


@pytest.mark.timeout(300)
async def test_a_gateway_whose_grpc_port_is_closed_is_replaced(service: Service) -> None:
    def end_grpc(actor: Any) -> int:
        replica = actor._replica_impl
        asyncio.run_coroutine_threadsafe(replica._direct_ingress_grpc_server.stop(None), replica._event_loop)
        return os.getpid()

    [name] = [each["name"] for each in list_named_actors(all_namespaces=True) if "#Gateway#" in each["name"]]
    gateway = ray.get_actor(name, namespace="serve")
    pid = await gateway.__ray_call__.remote(end_grpc)
    give_up = time.monotonic() + 120
    while psutil.pid_exists(pid):
        assert time.monotonic() < give_up, "Ray Serve did not replace it"
        await asyncio.sleep(0.2)
    request = CompleteRequest(model=FIM, prompt="a", generation_config={"max_tokens": 1}).SerializeToString()
    while grpc_status(await exchange(service.grpc_target, call(grpc_headers(_METHOD), grpc_message(request)))) != 0:
        assert time.monotonic() < give_up, "it does not answer again"
        await asyncio.sleep(0.2)
