"""Errors over HTTP: the OpenAI error body, with a status and headers from the one table."""

import json
import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serving.errors import Reason, ServingError

_RETRY_AFTER_S = 1.0
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that is gone; nobody reads it but access logs."""

_log = logging.getLogger(__name__)


class ClientGoneError(Exception):
    """The client closed the connection before the answer was complete."""


def json_response(content: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """A compact JSON body: some editors look for `"content":"` without a space."""
    return Response(compact_json(content), status, headers, media_type="application/json")


def compact_json(content: object) -> bytes:
    """JSON in UTF-8, without spaces."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def error_body(error: ServingError) -> dict[str, object]:
    """The OpenAI error object."""
    return {
        "error": {
            "message": error.message,
            "type": error.wire.openai_type,
            "param": error.field,
            "code": error.reason,
        }
    }


def error_response(error: ServingError) -> Response:
    """The response of a request that failed before anything was sent."""
    headers: dict[str, str] = {}
    if error.wire.retryable:
        headers["retry-after"] = str(math.ceil(error.retry_after_s or _RETRY_AFTER_S))
    if error.reason is Reason.BODY_TOO_LARGE:
        headers["connection"] = "close"  # there may be more of the body
    return json_response(error_body(error), error.wire.http_status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of the app answer with an error body."""

    @app.exception_handler(ServingError)
    async def serving_error(request: Request, error: ServingError) -> Response:
        return error_response(error)

    @app.exception_handler(ClientGoneError)
    @app.exception_handler(ClientDisconnect)  # while the body was read
    async def client_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(HTTPException)
    async def routing_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            response = error_response(
                ServingError(Reason.METHOD_NOT_ALLOWED, f"{path} does not take {request.method}, but {allowed}.")
            )
            response.headers["allow"] = allowed
            return response
        return error_response(ServingError(Reason.ROUTE_NOT_FOUND, f"There is nothing at {path}."))

    @app.exception_handler(Exception)
    async def unexpected_error(request: Request, error: Exception) -> Response:
        request_id = request.state.request_id
        _log.error("request %s failed", request_id, exc_info=error)
        return error_response(
            ServingError(Reason.INTERNAL, f"The server failed on request {request_id}; its log says more.")
        )
