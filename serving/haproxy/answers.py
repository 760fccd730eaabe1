"""What HAProxy says itself, as the Gateway would say it: OpenAI's error body, or a gRPC status without a message.

Nearly all made here and not by the Gateway's modules: a proxy must not take seconds to start.
"""

import json
from http import HTTPStatus

from serving.errors import Reason, ServingError
from serving.gateway.http.openai.errors import error_body

_RETRY_AFTER_S = 1

NO_GATEWAY = ServingError(Reason.UNAVAILABLE, "No gateway answers. It may be starting; try again.")
NOT_HERE = ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path.")
BROKEN_BODY = ServingError(
    Reason.MALFORMED_BODY, "The body of the request is not valid HTTP, or ended or stopped before it was complete."
)
SLOW_BODY = ServingError(Reason.REQUEST_TIMEOUT, "The body of the request did not come in time. Send it at once.")
FAILED = ServingError(Reason.INTERNAL, "The server failed on this request; its log says more.")

_ERRORS = {400: BROKEN_BODY, 408: SLOW_BODY, 500: FAILED, 502: NO_GATEWAY, 503: NO_GATEWAY, 504: NO_GATEWAY}
"""By the status that HAProxy would say."""


def json_rule(error: ServingError) -> str:
    """The end of a rule `http-request return` or `http-response return`: an answer over HTTP."""
    retry = f" hdr retry-after {_RETRY_AFTER_S}" if error.wire.retryable else ""
    return f"status {error.wire.http_status} content-type application/json string {_quoted(_body(error))}{retry}"


def grpc_rule(error: ServingError) -> str:
    """The same as an answer over gRPC: trailers only, as HTTP's status says nothing to a gRPC client.

    HAProxy takes a content type with a body only; the frontend adds it.
    """
    code = error.wire.grpc_code.value[0]
    message = _quoted(error.message)
    return f"status 200 hdr grpc-status {code} hdr grpc-message {message}"


def refuse(rule: str, condition: str) -> str:
    """A rule of a frontend that answers in a Gateway's place; `condition` is as `if { ... }`."""
    return f"http-request return {rule} {condition}"


def http_error_file(status: int) -> str:
    """The name of the file with the HTTP answer that takes the place of HAProxy's own of this status."""
    return f"http-{status}.http"


def grpc_error_file(status: int) -> str:
    """The name of the file with the gRPC answer that takes the place of HAProxy's own of this status."""
    return f"grpc-{status}.http"


def _body(error: ServingError) -> str:
    return json.dumps(error_body(error), separators=(",", ":"))


def _quoted(text: str) -> str:
    """As one word of HAProxy's configuration, in which nothing is special."""
    assert "'" not in text and text.isascii() and text.isprintable(), text
    return f"'{text}'"


def _http_response(error: ServingError) -> bytes:
    status, body = error.wire.http_status, _body(error)
    retry = [f"retry-after: {_RETRY_AFTER_S}"] if error.wire.retryable else []
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *retry, "content-type: application/json"]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", body]).encode()


def _grpc_response(error: ServingError) -> bytes:
    head = ["HTTP/1.1 200 OK", "content-type: application/grpc", f"grpc-status: {error.wire.grpc_code.value[0]}"]
    return "\r\n".join([*head, f"grpc-message: {error.message}", "content-length: 0", "", ""]).encode()


ERROR_STATUSES = tuple(_ERRORS)
ERROR_FILES = {
    **{http_error_file(status): _http_response(error) for status, error in _ERRORS.items()},
    **{grpc_error_file(status): _grpc_response(error) for status, error in _ERRORS.items()},
}
"""Content of the files by name; they belong beside the configuration."""
