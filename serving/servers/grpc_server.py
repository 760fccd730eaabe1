"""The gRPC servers that Ray Serve starts in Gateways, groups and proxies, made fit for hostile clients.

grpcio's asyncio server ends for good when a client names a method in bytes that are not UTF-8, and never answers a
unary call without a message: see docs/upstream.md. Ray Serve has it listen on every interface and has no setting for
most of its limits. `harden` therefore puts a class of our own in the place of the one of which grpcio makes these
servers. Nothing else of grpcio or Ray Serve is replaced.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from grpc._cython import cygrpc

from serving.errors import Reason, ServingError
from serving.servers.places import DisplacedError, Places

MESSAGE_TIMEOUT_S = 10.0
"""Within this time the one message of a unary request has to be there, whole."""
MAX_WAITING = 2048
"""Calls whose message is waited for at once, each of which takes some 18 KB; a Gateway has fewer requests open."""

_OPTIONS = (
    # No compression: a message of the allowed size may hold a thousand times as much.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Ray Serve gives both directions one limit; ours is for what clients send.
    ("grpc.max_send_message_length", -1),
)
_ANY_INTERFACE = "[::]:"
_RAYS_SERVICES = "/ray.serve."
_FROM_CLIENTS = {"request_id": "x-request-id", "session_id": "x-session-id"}
"""Metadata that steers Ray Serve and that clients may send: it reaches our methods by another name, Ray Serve never."""
_RAYS_OWN = frozenset({"application", "multiplexed_model_id"})
"""Metadata that steers Ray Serve: which application answers, which model's replica."""

type Received = bytes | ServingError
"""A unary request's message as it came, or why there is not one: a method that is called with an error is to raise it,
once it knows that its caller may learn that.
"""


def harden() -> None:
    """Every asyncio server that is made from now on in this process is a `HardenedServer`."""
    cygrpc.AioServer = HardenedServer
    logging.getLogger(cygrpc.__name__).addFilter(_is_no_metadata)


class HardenedServer(cygrpc.AioServer):  # type: ignore[misc] # grpcio has no types for it
    """A server that no request ends, that answers every call, and that listens where its node does."""

    def __init__(
        self, loop: Any, thread_pool: Any, handlers: Any, interceptors: Any, options: Sequence[Any], *more: Any
    ) -> None:
        self._methods: set[str] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        self._waiting = Places(MAX_WAITING)
        super().__init__(loop, thread_pool, handlers, interceptors, (*options, *_OPTIONS), *more)

    def add_insecure_port(self, address: bytes) -> int:
        """Listens at an address; where that is every interface, on loopback if the node's own address is that."""
        return int(super().add_insecure_port(_on_this_node(address.decode()).encode()))

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Registers the methods of handlers like `grpc.method_handlers_generic_handler`'s.

        The server asks for calls of registered methods by name, and never reads the path of any other call.
        """
        for handler in handlers:
            self.add_registered_method_handlers(handler._method_handlers)

    def add_registered_method_handlers(self, handlers: Mapping[str, Any]) -> None:
        """Registers methods by their path; those that are here already stay what they are."""
        new = {
            path: _guarded(path, handler, self._waiting)
            for path, handler in handlers.items()
            if path not in self._methods
        }
        self._methods.update(new)
        super().add_registered_method_handlers(new)

    def _make_request_call_future(self, path: bytes | None) -> asyncio.Task[Any]:
        """The next call of a registered method, or of no registered method if `path` is None."""
        return asyncio.get_running_loop().create_task(self._next_call(path))

    async def _next_call(self, path: bytes | None) -> Any:
        while True:
            try:
                if path is not None:
                    return await self._request_registered_call(path)
                self._refuse(await self._request_call())
            except cygrpc._RequestCallError:
                # A call that was gone before it was here. It would end the server, which may end for one reason only.
                if not self.is_running():
                    raise

    def _refuse(self, call: Any) -> None:
        """Answers UNIMPLEMENTED. The server's own loop would first decode the path, and end if it cannot."""
        loop = asyncio.get_running_loop()
        handling = cygrpc._handle_rpc("unknown", _NO_METHODS, (), call, loop, False)
        task = loop.create_task(cygrpc._schedule_rpc_coro(handling, call, loop, "unknown"))
        self._refusals.add(task)  # or it might be collected
        task.add_done_callback(self._refusals.discard)


class _NoMethods:
    def resolve_handler(self, details: Any) -> None:
        """Finds nothing."""


_NO_METHODS = _NoMethods()


class _Context:
    """A call's context whose metadata does not steer Ray Serve."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the client sent, without what is Ray Serve's."""
        sent = tuple(self._context.invocation_metadata() or ())
        keys = {key for key, _ in sent}
        return tuple(
            (_FROM_CLIENTS.get(key, key), value)
            for key, value in sent
            if key not in _RAYS_OWN and _FROM_CLIENTS.get(key) not in keys
        )


def _guarded(path: str, handler: Any, waiting: Places) -> Any:
    """A handler that calls another with one message and a guarded context; Ray Serve's own methods stay as they are."""
    if path.startswith(_RAYS_SERVICES):
        return handler
    streams = handler.request_streaming, handler.response_streaming
    behavior = getattr(handler, "_".join("stream" if stream else "unary" for stream in streams))

    async def one_response(messages: AsyncIterable[Any], context: Any) -> Any:
        request = messages if handler.request_streaming else await _one(messages, waiting)
        response = await behavior(request, _Context(context))
        await _end_failed(context)
        return response

    async def responses(messages: AsyncIterable[Any], context: Any) -> AsyncGenerator[Any, None]:
        request = messages if handler.request_streaming else await _one(messages, waiting)
        async with aclosing(behavior(request, _Context(context))) as answers:
            async for answer in answers:
                if _has_failed(context):
                    break
                yield answer
        await _end_failed(context)

    return handler._replace(request_streaming=True, stream_unary=one_response, stream_stream=responses)


def _has_failed(context: Any) -> bool:
    """Whether the method set a code that is not OK; Ray Serve sets OK too."""
    return context.code() not in (None, grpc.StatusCode.OK)


async def _end_failed(context: Any) -> None:
    """Ends a call that has failed with its status and nothing before it, so that clients may try it again.

    A method that sets a code returns all the same, and grpcio would send what it returns. After a message, gRPC's own
    retries do not try again (https://github.com/grpc/proposal/blob/master/A6-client-retries.md).
    """
    if _has_failed(context):
        await context.abort(context.code(), context.details() or "", context.trailing_metadata() or ())


async def _one(messages: AsyncIterable[bytes], waiting: Places) -> Received:
    incoming = aiter(messages)
    try:
        async with waiting.taken(MESSAGE_TIMEOUT_S):
            message = await anext(incoming, None)
            another = message is not None and await anext(incoming, None) is not None
    except DisplacedError:
        return ServingError(
            Reason.OVERLOADED,
            f"More than {MAX_WAITING} calls wait for their message here, this one for the longest. Send it again.",
        )
    except TimeoutError:
        return _not_one_message(f"it was not there, whole and ended, within {MESSAGE_TIMEOUT_S:g} s")
    if message is None:
        return _not_one_message("the call ended without one")
    return _not_one_message("the call has more than one") if another else message


def _not_one_message(fault: str) -> ServingError:
    return ServingError(Reason.MALFORMED_BODY, f"The request is not one message: {fault}. Send one.")


def _on_this_node(address: str) -> str:
    if not address.startswith(_ANY_INTERFACE) or "ray" not in sys.modules:
        return address
    from ray.util import get_node_ip_address  # not at the top: who needs no more than the names here has no Ray

    return f"127.0.0.1:{address.removeprefix(_ANY_INTERFACE)}" if get_node_ip_address() == "127.0.0.1" else address


def _is_no_metadata(record: logging.LogRecord) -> bool:
    """Drops grpcio's report of metadata that is not UTF-8: it shows what the client sent, an API key perhaps."""
    return not record.getMessage().startswith("Invalid encoding on")
