"""Mistral's library."""

from mistralai.client import Mistral

from tests.clients.python.conftest import Asked


def test_it_fills_in(url: str, asked: Asked) -> None:
    with Mistral(api_key="none", server_url=url) as client:
        request = {"model": asked.model, "prompt": asked.prefix, "suffix": asked.suffix, "max_tokens": 8}
        whole = client.fim.complete(**request).choices[0].message.content
        with client.fim.stream(**request) as events:
            streamed = "".join(event.data.choices[0].delta.content or "" for event in events)
    assert whole == streamed
    assert whole.startswith(asked.filled_in)


def test_it_chats(url: str, asked: Asked) -> None:
    with Mistral(api_key="none", server_url=url) as client:
        answer = client.chat.complete(model=asked.model, messages=asked.messages, max_tokens=8)
    assert answer.choices[0].message.content.startswith(asked.answer)
