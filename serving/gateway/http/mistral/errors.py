"""Mistral's error body."""

from serving.errors import ServingError

PREFIXES = ("/v1/fim/completions",)
"""Paths that begin so are refused in this form."""


def error_body(error: ServingError) -> dict[str, object]:
    """The error object; Mistral's clients show it as it is."""
    return {
        "object": "error",
        "message": error.message,
        "type": error.reason,
        "param": error.field,
        "code": str(error.wire.http_status),
    }
