"""The `usage` of an answer as OpenAI and Mistral write it."""

from serving.gateway.http.json_text import Json
from serving.gateway.request import Usage


def usage_json(usage: Usage) -> Json:
    """Tokens of the prompt, of the completion and in total, and how many of the prompt were cached."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
