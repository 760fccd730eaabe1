"""A real gRPC server on loopback in front of a `CodeService`, and what its clients see of a failure."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from grpc_status import rpc_status

from serving.config import GatewayConfig
from serving.gateway.grpc.service import GrpcService
from serving.gateway.grpc.servicers import add_services
from serving.gateway.service import CodeService
from serving.servers.grpc_server import harden

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


class Details:
    """The details of an error, one of each type at most."""

    def __init__(self, status: Status) -> None:
        self._of: dict[type[Message], Message] = {}
        for packed in status.details:
            for kind in (ErrorInfo, BadRequest, RetryInfo, QuotaFailure):
                message = kind()
                if packed.Unpack(message):
                    self._of[kind] = message
        assert len(self._of) == len(status.details)

    def __contains__(self, kind: type[Message]) -> bool:
        return kind in self._of

    def __getitem__[M: Message](self, kind: type[M]) -> M:
        message = self._of[kind]
        assert isinstance(message, kind)
        return message


def status_of(error: grpc.aio.AioRpcError) -> Status:
    """What the error says as a `google.rpc.Status`.

    Raises:
      ValueError: code or message are not those of the details.
    """
    status = rpc_status.from_call(cast(grpc.Call, error))  # all that is asked of a call, the error has too
    assert status is not None
    return status


async def failure(call: Awaitable[object] | AsyncIterable[object]) -> tuple[grpc.aio.AioRpcError, Details]:
    """The error of a unary call or of a stream, and its details by type."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        if isinstance(call, AsyncIterable):
            async for _ in call:
                pass
        else:
            await call
    return raised.value, Details(status_of(raised.value))


def fields_at_fault(details: Details) -> list[str]:
    return [violation.field for violation in details[BadRequest].field_violations]


def health_stub(channel: grpc.aio.Channel) -> Any:
    """A stub whose methods its types do not know."""
    return HealthStub(channel)


def reflection_stub(channel: grpc.aio.Channel) -> Any:
    """A stub whose types know no channels of asyncio."""
    return ServerReflectionStub(cast(grpc.Channel, channel))
