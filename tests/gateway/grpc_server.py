"""A real gRPC server on loopback in front of a `CodeService`, and what its clients see of a failure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from grpc_status import rpc_status

from serving.config import GatewayConfig
from serving.gateway.grpc.service import GrpcService
from serving.gateway.grpc.servicers import add_services
from serving.gateway.service import CodeService
from serving.grpc_server import harden

CONFIG = GatewayConfig(max_body_bytes=100_000)


@asynccontextmanager
async def grpc_server(service: CodeService, config: GatewayConfig = CONFIG) -> AsyncIterator[str]:
    """Serves for as long as the block runs; yields HOST:PORT."""
    harden()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", config.max_body_bytes)])
    add_services(GrpcService(service, config), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(grace=None)


async def failure(call: grpc.aio.Call) -> tuple[grpc.aio.AioRpcError, dict[type[Message], Message]]:
    """The error of a unary call or of a stream, and its details by type."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    error = raised.value
    status = rpc_status.from_call(error)  # raises unless code and message agree with the details
    details = {}
    for packed in status.details:
        for kind in (ErrorInfo, BadRequest, RetryInfo, QuotaFailure):
            message = kind()
            if packed.Unpack(message):
                details[kind] = message
    assert len(details) == len(status.details)
    return error, details


def fields_at_fault(details: dict[type[Message], Message]) -> list[str]:
    return [violation.field for violation in details[BadRequest].field_violations]
