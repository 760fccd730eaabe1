"""The error body for Tabby's agent, which looks at the status and shows the body."""

from serving.errors import ServingError


def error_body(error: ServingError) -> dict[str, object]:
    """The sentence alone."""
    return {"error": error.message}
