"""call_text: a call of a tool as the model sees it. Gemma knows none, but histories that others began have some."""

from serving.gateway.http.json_text import compact_json


def call_text(name: str, arguments: object) -> str:
    """The call, as the model might have said it."""
    return f"{name}({arguments if isinstance(arguments, str) else compact_json(arguments).decode()})"
