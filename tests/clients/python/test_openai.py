"""OpenAI's library."""

from collections.abc import Iterator

import openai
import pytest
from conftest import Asked
from pydantic import BaseModel


class Answer(BaseModel):
    """What structured output would be."""

    name: str


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


def test_it_lists_models(client: openai.OpenAI, asked: Asked) -> None:
    assert [model.id for model in client.models.list()] == [asked.model]


@pytest.mark.parametrize("stream", [False, True])
def test_it_fills_in(client: openai.OpenAI, asked: Asked, stream: bool) -> None:
    request = {"model": asked.model, "prompt": asked.prefix, "suffix": asked.suffix, "max_tokens": 8}
    answer = client.completions.create(**request, stream=stream)
    text = "".join(part.choices[0].text for part in answer) if stream else answer.choices[0].text
    assert text.startswith(asked.filled_in)


def test_it_chats(client: openai.OpenAI, asked: Asked) -> None:
    messages = [{"role": "user", "content": asked.question}]
    answer = client.chat.completions.create(model=asked.model, messages=messages, max_tokens=8)
    assert answer.choices[0].message.content.startswith(asked.answer)
    assert answer.choices[0].finish_reason == "length"


def test_it_streams_a_response(client: openai.OpenAI, asked: Asked) -> None:
    request = {"model": asked.model, "input": asked.question, "max_output_tokens": 8}
    with client.responses.stream(**request) as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    whole = client.responses.create(**request)
    assert (whole.output_text, whole.status) == (text, "incomplete")
    assert text.startswith(asked.answer)


def test_structured_output_is_refused_by_name(client: openai.OpenAI, asked: Asked) -> None:
    messages = [{"role": "user", "content": asked.question}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.parse(model=asked.model, messages=messages, response_format=Answer)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "response_format")
