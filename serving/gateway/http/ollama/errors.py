"""Ollama's error body."""

from serving.errors import ServingError

PREFIXES = ("/api/",)
"""Paths that begin so are refused in this form."""


def error_body(error: ServingError) -> dict[str, str]:
    """A text: clients in JavaScript would show an object as `[object Object]`."""
    return {"error": error.message}
