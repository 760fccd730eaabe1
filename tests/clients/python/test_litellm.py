"""LiteLLM's routes to the APIs that the service speaks."""

import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it looks for prices on the Internet first

import litellm
import pytest

from tests.clients.python.conftest import Asked

_SHORT: dict[str, Any] = {"max_tokens": 8, "temperature": 0}
_KEY = {"api_key": "none"}


def chat_text(answer: Any, stream: bool) -> str:
    if stream:
        return "".join(part.choices[0].delta.content or "" for part in answer)
    return str(answer.choices[0].message.content)


def completion_text(answer: Any, stream: bool) -> str:
    if stream:
        return "".join(part.choices[0].text or "" for part in answer)
    return str(answer.choices[0].text)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("openai", "/v1"),
        ("hosted_vllm", "/v1"),
        ("mistral", "/v1"),
        ("codestral", "/v1"),
        ("ollama_chat", ""),
        ("anthropic", ""),
    ],
)
def test_it_chats(url: str, asked: Asked, route: str, path: str, stream: bool) -> None:
    question = {"model": f"{route}/{asked.model}", "messages": asked.messages}
    answer = litellm.completion(**question, api_base=url + path, stream=stream, **_KEY, **_SHORT)
    assert chat_text(answer, stream).startswith(asked.answer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("route", "path"),
    [("text-completion-openai", "/v1"), ("text-completion-codestral", "/v1/fim/completions"), ("ollama", "")],
)
def test_it_fills_in(url: str, asked: Asked, route: str, path: str, stream: bool) -> None:
    prompt = {"model": f"{route}/{asked.model}", "prompt": asked.prefix, "suffix": asked.suffix}
    answer = litellm.text_completion(**prompt, api_base=url + path, stream=stream, **_KEY, **_SHORT)
    assert completion_text(answer, stream).startswith(asked.filled_in)


def test_it_asks_for_a_response(url: str, asked: Asked) -> None:
    model = f"openai/{asked.model}"
    answer = litellm.responses(model=model, api_base=f"{url}/v1", input=asked.question, max_output_tokens=8, **_KEY)
    assert answer.output[0].content[0].text.startswith(asked.answer)


@pytest.mark.parametrize(
    ("route", "path"),
    [("openai", "/v1"), ("hosted_vllm", "/v1"), ("mistral", "/v1"), ("codestral", "/v1"), ("anthropic", "")],
)
def test_it_recognises_a_prompt_that_is_too_long(url: str, asked: Asked, too_long: str, route: str, path: str) -> None:
    messages = [{"role": "user", "content": too_long}]
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(model=f"{route}/{asked.model}", api_base=url + path, messages=messages, **_KEY, **_SHORT)


def test_over_ollamas_api_it_passes_on_that_a_prompt_is_too_long(url: str, asked: Asked, too_long: str) -> None:
    """It looks for no words there that would make it a `ContextWindowExceededError`."""
    messages = [{"role": "user", "content": too_long}]
    with pytest.raises(litellm.BadRequestError, match="prompt is too long") as raised:
        litellm.completion(model=f"ollama_chat/{asked.model}", api_base=url, messages=messages, **_KEY, **_SHORT)
    assert not isinstance(raised.value, litellm.ContextWindowExceededError)


def test_a_model_that_is_not_served_is_not_found(url: str, asked: Asked) -> None:
    with pytest.raises(litellm.NotFoundError, match=asked.model):
        litellm.completion(model="openai/gpt", api_base=f"{url}/v1", messages=asked.messages, **_KEY, **_SHORT)
