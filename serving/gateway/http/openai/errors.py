"""OpenAI's error body. HAProxy says it too, as all of these, so they import nothing that takes long."""

from serving.errors import ServingError

PREFIXES = ("/v1/",)
"""Paths that begin so are refused in this form."""

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""By HTTP status."""


def error_body(error: ServingError) -> dict[str, object]:
    """The error object."""
    status = error.wire.http_status
    return {
        "error": {
            "message": error.message,
            "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
            "param": error.field,
            "code": error.reason,
        }
    }
