"""Ollama's library."""

from typing import Any

import ollama
import pytest

from tests.clients.python.conftest import Asked

_SHORT = {"num_predict": 8, "temperature": 0}


@pytest.fixture
def client(url: str) -> ollama.Client:
    return ollama.Client(host=url)


def test_it_finds_the_model(client: ollama.Client, asked: Asked) -> None:
    assert asked.model in str(client.list().models[0].model)
    assert asked.model in str(client.ps().models[0].model)
    assert {"completion", "insert"} <= set(client.show(asked.model).capabilities or ())


def test_it_fills_in(client: ollama.Client, asked: Asked) -> None:
    request: dict[str, Any] = {"prompt": asked.prefix, "suffix": asked.suffix, "options": _SHORT}
    whole = client.generate(asked.model, **request).response
    assert whole == "".join(part.response or "" for part in client.generate(asked.model, **request, stream=True))
    assert whole.startswith(asked.filled_in)


def test_it_chats(client: ollama.Client, asked: Asked) -> None:
    request: dict[str, Any] = {"messages": asked.messages, "options": _SHORT}
    whole = client.chat(asked.model, **request).message.content or ""
    streamed = [part.message.content or "" for part in client.chat(asked.model, **request, stream=True)]
    assert whole == "".join(streamed)
    assert whole.startswith(asked.answer)


def test_what_is_not_here_says_so(client: ollama.Client, asked: Asked) -> None:
    with pytest.raises(ollama.ResponseError) as failure:
        client.embed(asked.model, "text")
    assert failure.value.status_code == 501
