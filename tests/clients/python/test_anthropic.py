"""Anthropic's library."""

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic

from tests.clients.python.conftest import Asked


@pytest.fixture
def client(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="none") as client:
        yield client


def test_it_gets_a_message_whole_and_streamed(client: Anthropic, asked: Asked) -> None:
    request: dict[str, Any] = {"model": asked.model, "messages": asked.messages, "max_tokens": 8}
    request["extra_body"] = {"temperature": 0}
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        streamed = "".join(stream.text_stream)
    assert [block.text for block in whole.content if block.type == "text"] == [streamed]
    assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 8)
    assert streamed.startswith(asked.answer)


def test_it_counts_tokens(client: Anthropic, asked: Asked) -> None:
    counted = client.messages.count_tokens(model=asked.model, messages=asked.messages)
    answer = client.messages.create(model=asked.model, messages=asked.messages, max_tokens=1)
    assert counted.input_tokens == answer.usage.input_tokens
