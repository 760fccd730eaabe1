"""The HTTP side of the Gateway: OpenAI's API over one `CodeService`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.config import GatewayConfig
from serving.errors import Reason, ServingError
from serving.gateway.access import Caller, LocalAccess
from serving.gateway.batch import generate_batch
from serving.gateway.http.errors import ERROR_HANDLERS, json_response
from serving.gateway.http.openai_answers import ChatWriter, CompletionWriter, Writer, model_object
from serving.gateway.http.openai_requests import chat_request, completion_requests
from serving.gateway.http.openai_schema import ChatBody, CompletionBody, GenerationBody, parse_body
from serving.gateway.http.origins import origin_middleware
from serving.gateway.http.stream import EventStream, while_connected
from serving.gateway.http.unread_body import UnreadBody
from serving.gateway.request import CodeRequest
from serving.gateway.service import CodeService
from serving.ray_headers import ADDRESS_HEADER
from serving.request_id import REQUEST_ID_HEADER, request_id_of

SESSION_ID_HEADER = "x-session-id"
TENANT_HEADER = "x-tenant-id"
TRACE_HEADER = "traceparent"
_BODY_S = 30.0
"""For 4 MiB, the limit by default, at 1.1 Mbit/s. HAProxy waits longer (`serving/ray_environment.py`)."""
_UNREAD_BODY_S = 10.0


def build_http_app(
    get_service: Callable[[], CodeService],
    config: GatewayConfig,
    body_s: float = _BODY_S,
    unread_body_s: float = _UNREAD_BODY_S,
) -> Starlette:
    """The HTTP application.

    Args:
      get_service: gives the service, once requests come.
      config: the limits of the gateway.
      body_s: for the body of a request to arrive.
      unread_body_s: for what is left of it when the request has been answered.
    """

    async def health(request: Request) -> Response:
        # Without a key, ids of models included: probes have none, and who runs the service has to see what is down.
        health = await get_service().health()
        if not health.ready:
            raise ServingError(
                Reason.UNAVAILABLE,
                f"No replica group answers for {', '.join(health.unavailable)}. It may be starting; try again.",
            )
        if health.unavailable:
            return json_response({"status": "degraded", "unavailable": health.unavailable})
        return json_response({"status": "ok"})

    async def models(request: Request) -> Response:
        with reading():
            await caller_of(request)
        return json_response({"object": "list", "data": list(map(model_object, get_service().models()))})

    async def model(request: Request) -> Response:
        with reading():
            await caller_of(request)
        return json_response(model_object(get_service().model(request.path_params["name"])))

    async def completions(request: Request) -> Response:
        with reading():
            caller = await caller_of(request)
            body = await parse_body(CompletionBody, await _read_body(request, config.max_body_bytes, body_s))
            requests = [_from(caller, request, each) for each in completion_requests(body, request.state.request_id)]
        writer = CompletionWriter(f"cmpl-{request.state.request_id}")
        return await _respond(request, body, get_service(), requests, writer)

    async def chat_completions(request: Request) -> Response:
        with reading():
            caller = await caller_of(request)
            body = await parse_body(ChatBody, await _read_body(request, config.max_body_bytes, body_s))
            code_request = _from(caller, request, chat_request(body, request.state.request_id))
        writer = ChatWriter(f"chatcmpl-{request.state.request_id}")
        return await _respond(request, body, get_service(), [code_request], writer)

    def reading() -> AbstractContextManager[None]:
        return get_service().records.reading("http")

    async def caller_of(request: Request) -> Caller:
        headers = request.headers
        keys = headers.get("authorization", ""), headers.get("x-api-key", "")
        address = headers.get(ADDRESS_HEADER, "")
        return await get_service().access.caller(*keys, headers.get(TENANT_HEADER, ""), address=address)

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name}", model),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        ],
        middleware=[
            Middleware(UnreadBody, within_s=unread_body_s),
            Middleware(_RequestId),
            *origin_middleware(config, lambda: isinstance(get_service().access, LocalAccess)),
        ],
        exception_handlers=ERROR_HANDLERS,
    )
    app.router.redirect_slashes = False
    return app


async def _respond(
    request: Request, body: GenerationBody, service: CodeService, requests: Sequence[CodeRequest], writer: Writer
) -> Response:
    if body.stream:
        events = _events(service, requests, writer, include_usage=body.stream_options.include_usage)
        return await EventStream.begin(request, events)
    return json_response(await while_connected(request.receive, _whole(service, requests, writer)))


async def _whole(service: CodeService, requests: Sequence[CodeRequest], writer: Writer) -> dict[str, Any]:
    async with aclosing(generate_batch(service, requests)) as chunks:
        return await writer.whole(chunks)


async def _events(
    service: CodeService, requests: Sequence[CodeRequest], writer: Writer, *, include_usage: bool
) -> AsyncGenerator[dict[str, Any], None]:
    async with (
        aclosing(generate_batch(service, requests)) as chunks,
        aclosing(writer.events(chunks, include_usage=include_usage)) as events,
    ):
        async for event in events:
            yield event


async def _read_body(request: Request, max_bytes: int, within_s: float) -> bytearray:
    """The whole body.

    Raises:
      ServingError: BODY_TOO_LARGE, as soon as that is known; REQUEST_TIMEOUT.
    """
    length = request.headers.get("content-length", "")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            if not length.isdecimal() or int(length) <= max_bytes:
                async for part in request.stream():
                    body += part
                    if len(body) > max_bytes:
                        break
                else:
                    return body
    except TimeoutError:
        raise ServingError(
            Reason.REQUEST_TIMEOUT,
            f"Of the body {len(body)} bytes came in {within_s:g} s, the limit here, and not its end. Send it at once.",
        ) from None
    raise ServingError(
        Reason.BODY_TOO_LARGE, f"The body is longer than {max_bytes} bytes, the limit here. Send less context."
    )


def _from(caller: Caller, request: Request, code_request: CodeRequest) -> CodeRequest:
    """The request with what its caller and the HTTP headers say of it."""
    headers = request.headers
    return replace(
        code_request,
        session_id=headers.get(SESSION_ID_HEADER, ""),
        tenant=caller.tenant,
        owner=caller.owner,
        roles=caller.roles,
        key=caller.key,
        protocol="http",
        route=request.url.path,
        trace=headers.get(TRACE_HEADER, ""),
    )


class _RequestId:
    """Names each request, as its client did if it did. Ray Serve says the name in the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
            scope.setdefault("state", {})["request_id"] = request_id_of(named)
        await self._app(scope, receive, send)
