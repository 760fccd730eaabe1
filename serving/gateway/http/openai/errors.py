"""OpenAI's error body. HAProxy says it too, so this module imports nothing that takes long."""

from serving.errors import ServingError

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
