"""Errors over HTTP: the OpenAI error body, with a status and headers from the one table."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from serving.errors import Reason, ServingError, error_body

_RETRY_AFTER_S = 1.0
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that is gone; nobody reads it but access logs."""

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


class ClientGoneError(Exception):
    """The client closed the connection before the answer was complete."""


def json_response(content: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """A compact JSON body: some editors look for `"content":"` without a space."""
    return Response(compact_json(content), status, headers, media_type="application/json")


def compact_json(content: object) -> bytes:
    """JSON in UTF-8, without spaces."""
    return msgspec.json.encode(content)


def error_response(error: ServingError) -> Response:
    """The response of a request that failed before anything was sent."""
    headers: dict[str, str] = {}
    if error.wire.retryable:
        headers["retry-after"] = str(math.ceil(error.retry_after_s or _RETRY_AFTER_S))
    if error.reason is Reason.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"  # RFC 9110 wants it beside a 401
    return json_response(error_body(error), error.wire.http_status, headers)


async def _serving_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    return error_response(error)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        response = error_response(
            ServingError(Reason.METHOD_NOT_ALLOWED, f"{path} does not take {request.method}, but {allowed}.")
        )
        response.headers["allow"] = allowed
        return response
    return error_response(ServingError(Reason.ROUTE_NOT_FOUND, f"There is nothing at {path}."))


async def _unexpected_error(request: Request, error: Exception) -> Response:
    request_id = request.state.request_id
    _log.error("request %s failed", request_id, exc_info=error)
    return error_response(
        ServingError(Reason.INTERNAL, f"The server failed on request {request_id}; its log says more.")
    )


ERROR_HANDLERS: Mapping[Any, ExceptionHandler] = {
    ServingError: _serving_error,
    ClientGoneError: _client_gone,
    ClientDisconnect: _client_gone,  # while the body was read
    HTTPException: _routing_error,
    Exception: _unexpected_error,
}
"""Make every failure of an app answer with an error body."""
