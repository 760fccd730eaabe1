"""The error body for Tabby's agent, which looks at the status and shows the body."""

from serving.errors import ServingError

PREFIXES = ("/v1beta/", "/v1/health", "/v1/events")
"""Paths that begin so are refused in this form."""


def error_body(error: ServingError) -> dict[str, object]:
    """The sentence alone."""
    return {"error": error.message}
