"""Mistral's error body."""

from serving.errors import ServingError


def error_body(error: ServingError) -> dict[str, object]:
    """The error object; Mistral's clients show it as it is."""
    return {
        "object": "error",
        "message": error.message,
        "type": error.reason,
        "param": error.field,
        "code": str(error.wire.http_status),
    }
