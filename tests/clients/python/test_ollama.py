"""Ollama's library."""

import ollama
import pytest
from conftest import Asked


@pytest.fixture
def client(url: str) -> ollama.Client:
    return ollama.Client(host=url)


def test_it_finds_the_model(client: ollama.Client, asked: Asked) -> None:
    assert asked.model in client.list().models[0].model
    assert asked.model in client.ps().models[0].model
    assert {"completion", "insert"} <= set(client.show(asked.model).capabilities or ())


@pytest.mark.parametrize("stream", [False, True])
def test_it_fills_in(client: ollama.Client, asked: Asked, stream: bool) -> None:
    answer = client.generate(
        asked.model, asked.prefix, suffix=asked.suffix, stream=stream, options={"num_predict": 8, "temperature": 0}
    )
    text = "".join(part.response for part in answer) if stream else answer.response
    assert text.startswith(asked.filled_in)


@pytest.mark.parametrize("stream", [False, True])
def test_it_chats(client: ollama.Client, asked: Asked, stream: bool) -> None:
    messages = [{"role": "user", "content": asked.question}]
    answer = client.chat(asked.model, messages, stream=stream, options={"num_predict": 8, "temperature": 0})
    text = "".join(part.message.content for part in answer) if stream else answer.message.content
    assert text.startswith(asked.answer)


def test_what_is_not_here_says_so(client: ollama.Client, asked: Asked) -> None:
    with pytest.raises(ollama.ResponseError) as failure:
        client.embed(asked.model, "text")
    assert failure.value.status_code == 501
