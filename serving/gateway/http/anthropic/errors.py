"""Anthropic's error body."""

from serving.errors import ServingError

PREFIXES = ("/v1/messages",)
"""Paths that begin so are refused in this form."""

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""By HTTP status."""


def error_body(error: ServingError) -> dict[str, object]:
    """The error object."""
    kind = _TYPES.get(error.wire.http_status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}
