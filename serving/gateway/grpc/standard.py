"""The services that every gRPC server is expected to have: health checks and reflection."""

# gRPC calls the methods by the names in the .proto files.
# ruff: noqa: N802

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import (  # type: ignore[attr-defined] # the type stubs do not know List yet
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from serving.errors import Reason, ServingError
from serving.gateway.grpc.call import Call, GrpcContext, answering
from serving.gateway.grpc.reflection import public_descriptors
from serving.servers.grpc_server import MESSAGE_TIMEOUT_S, Received
from serving.servers.grpc_services import GRPC_SERVICES
from serving.servers.places import Places

_HEALTH_NAMES = ("", *GRPC_SERVICES)
"""What can be asked about; the empty name is the server as a whole."""
_MAX_BYTES = 4096
"""Of a message to these services, which need no key; names are short."""
_WATCH_PERIOD_S = 1.0
_MAX_STREAMS = 100
"""That wait at once in `Watch`, and in reflection, which need no key: they must not take the places of requests."""


class StandardServices:
    """The methods of `grpc.health.v1.Health`, and of `grpc.reflection`'s `ServerReflection`, v1 and v1alpha alike."""

    def __init__(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        """`is_ready` says whether requests can be answered now."""
        self._is_ready = is_ready
        self._watching = Places(_MAX_STREAMS)
        self._open: Counter[str] = Counter()
        # Any: the type stubs have its method as a coroutine, and it is an asynchronous generator.
        self._reflection: Any = reflection.aio.ReflectionServicer(GRPC_SERVICES, public_descriptors())

    async def Check(self, data: Received, grpc_context: GrpcContext) -> HealthCheckResponse:
        """Whether a service serves; NOT_FOUND if there is none of that name."""
        with answering(grpc_context) as call:
            request = call.message(HealthCheckRequest, data, _MAX_BYTES)
            if request.service not in _HEALTH_NAMES:
                grpc_context.set_code(grpc.StatusCode.NOT_FOUND)
                grpc_context.set_details(
                    f"There is no such service. Ask for one of {', '.join(GRPC_SERVICES)}, or none."
                )
                return HealthCheckResponse()
            return await self._health(request.service)
        return HealthCheckResponse()

    async def List(self, data: Received, grpc_context: GrpcContext) -> HealthListResponse:
        """Which services serve."""
        with answering(grpc_context) as call:
            call.message(HealthListRequest, data, _MAX_BYTES)
            return HealthListResponse(statuses={name: await self._health(name) for name in _HEALTH_NAMES})
        return HealthListResponse()

    async def Watch(self, data: Received, grpc_context: GrpcContext) -> AsyncGenerator[HealthCheckResponse, None]:
        """Whether a service serves, now and at every change, until the client or the server ends the call."""
        with answering(grpc_context) as call:
            request = call.message(HealthCheckRequest, data, _MAX_BYTES)
            last: HealthCheckResponse | None = None
            with self._stream("Watch", 2 * _MAX_STREAMS):  # half of them wait for a client that reads nothing
                while True:
                    health = await self._health(request.service)
                    if health != last:
                        yield health
                    last = health
                    try:
                        async with self._watching.taken():
                            await asyncio.sleep(_WATCH_PERIOD_S)
                    except TimeoutError:  # these streams have no end: a new one must not wait for them
                        raise _too_many_streams() from None
        yield HealthCheckResponse()

    async def ServerReflectionInfo(
        self, requests: AsyncIterable[bytes], grpc_context: GrpcContext
    ) -> AsyncGenerator[ServerReflectionResponse, None]:
        """Describes this server's services to clients that do not have the .proto files."""
        with answering(grpc_context) as call:
            responses = self._reflection.ServerReflectionInfo(_read(requests, call), grpc_context)
            with self._stream("ServerReflectionInfo", _MAX_STREAMS):
                async with aclosing(responses):
                    async for response in responses:
                        yield response
            return
        yield ServerReflectionResponse()

    @contextmanager
    def _stream(self, method: str, most: int) -> Iterator[None]:
        """Counts a stream of a method while it is open."""
        if self._open[method] >= most:
            raise _too_many_streams()
        self._open[method] += 1
        try:
            yield
        finally:
            self._open[method] -= 1

    async def _health(self, service: str) -> HealthCheckResponse:
        if service not in _HEALTH_NAMES:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        is_ready = await self._is_ready()
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING)


def _too_many_streams() -> ServingError:
    explanation = f"{_MAX_STREAMS} streams like this one and more are open, the limit here. Open it again."
    return ServingError(Reason.OVERLOADED, explanation)


async def _read(requests: AsyncIterable[bytes], call: Call) -> AsyncGenerator[ServerReflectionRequest, None]:
    """The requests of a stream, which ends when none comes for a while."""
    incoming = aiter(requests)
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(MESSAGE_TIMEOUT_S):
                data = await anext(incoming, None)
            if data is None:
                return
            yield call.message(ServerReflectionRequest, data, _MAX_BYTES)
