"""Responses in JSON, those of errors among them: status and headers are the same in all APIs."""

import logging
import math
from http import HTTPStatus

from starlette.responses import Response

from serving.errors import Reason, ServingError, unforeseen
from serving.gateway.http.api import Api
from serving.gateway.http.json_text import compact_json

_RETRY_AFTER_S = 1.0
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that is gone; only access logs show it."""

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


def json_response(content: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """A compact JSON body."""
    return Response(compact_json(content), status, headers, media_type="application/json")


def error_response(api: Api, error: ServingError) -> Response:
    """The response of a request that failed before anything was sent."""
    # OpenAI's and Anthropic's clients repeat what failed with 408, 409 or 5xx, unless a header says otherwise.
    headers = {"x-should-retry": str(error.wire.retryable).lower()}
    if error.wire.retryable:
        headers["retry-after"] = str(math.ceil(error.retry_after_s or _RETRY_AFTER_S))
    if error.reason is Reason.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"  # RFC 9110 wants it beside a 401
    return json_response(api.error_body(error), error.wire.http_status, headers)


def gone_response() -> Response:
    """The response for a client that is gone."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


def unexpected(error: Exception, request_id: str) -> ServingError:
    """The response to an unexpected error; the log has the details."""
    _log.error("request %s failed", request_id, exc_info=error)
    return unforeseen(request_id)
