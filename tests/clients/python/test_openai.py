"""OpenAI's library."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.python.conftest import Asked


class Answer(BaseModel):
    """What structured output would be."""

    name: str


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


def test_it_lists_models(client: openai.OpenAI, asked: Asked) -> None:
    assert [model.id for model in client.models.list()] == [asked.model]


def test_it_fills_in(client: openai.OpenAI, asked: Asked) -> None:
    request: dict[str, Any] = {"model": asked.model, "prompt": asked.prefix, "suffix": asked.suffix, "max_tokens": 8}
    whole = client.completions.create(**request).choices[0].text
    assert whole == "".join(part.choices[0].text for part in client.completions.create(**request, stream=True))
    assert whole.startswith(asked.filled_in)


def test_it_chats(client: openai.OpenAI, asked: Asked) -> None:
    answer = client.chat.completions.create(model=asked.model, messages=asked.messages, max_tokens=8)
    assert (answer.choices[0].message.content or "").startswith(asked.answer)
    assert answer.choices[0].finish_reason == "length"


def test_it_streams_a_response(client: openai.OpenAI, asked: Asked) -> None:
    request: dict[str, Any] = {"model": asked.model, "input": asked.question, "max_output_tokens": 8}
    with client.responses.stream(**request) as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    whole = client.responses.create(**request)
    assert (whole.output_text, whole.status) == (text, "incomplete")
    assert text.startswith(asked.answer)


def test_structured_output_is_refused_by_name(client: openai.OpenAI, asked: Asked) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.parse(model=asked.model, messages=asked.messages, response_format=Answer)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "response_format")
