"""Anthropic's library."""

from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from conftest import Asked


@pytest.fixture
def client(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="none") as client:
        yield client


def test_it_gets_a_message_whole_and_streamed(client: Anthropic, asked: Asked) -> None:
    messages = [{"role": "user", "content": asked.question}]
    request = {"model": asked.model, "messages": messages, "max_tokens": 8, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        streamed = "".join(stream.text_stream)
    assert whole.content[0].text == streamed
    assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 8)
    assert streamed.startswith(asked.answer)


def test_it_counts_tokens(client: Anthropic, asked: Asked) -> None:
    messages = [{"role": "user", "content": asked.question}]
    counted = client.messages.count_tokens(model=asked.model, messages=messages)
    answer = client.messages.create(model=asked.model, messages=messages, max_tokens=1)
    assert counted.input_tokens == answer.usage.input_tokens
