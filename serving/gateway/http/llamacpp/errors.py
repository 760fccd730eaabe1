"""The error body of llama.cpp's server."""

from serving.errors import Reason, ServingError

PREFIXES = ("/infill", "/completion", "/tokenize", "/detokenize", "/apply-template", "/props")
"""Paths that begin so are refused in this form."""

_TYPES = {
    Reason.CONTEXT_LENGTH_EXCEEDED: "exceed_context_size_error",
    Reason.UNSUPPORTED_PARAMETER: "not_supported_error",
    Reason.UNAUTHENTICATED: "authentication_error",
    Reason.PERMISSION_DENIED: "permission_error",
    Reason.MODEL_NOT_FOUND: "not_found_error",
    Reason.ROUTE_NOT_FOUND: "not_found_error",
    Reason.OVERLOADED: "unavailable_error",
    Reason.UNAVAILABLE: "unavailable_error",
}


def error_body(error: ServingError) -> dict[str, object]:
    """The error object; its `code` is the HTTP status."""
    status = error.wire.http_status
    default = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"code": status, "message": error.message, "type": _TYPES.get(error.reason, default)}}
