"""Mistral's own client against the app on a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

MODEL = "codegemma-test"


@pytest.fixture
async def mistral_client(server: str) -> AsyncIterator[Mistral]:
    async with Mistral(api_key="none", server_url=server) as client:
        yield client


async def test_fim_complete(mistral_client: Mistral) -> None:
    answer = await mistral_client.fim.complete_async(
        model=MODEL, prompt="def f", suffix="\n", max_tokens=8, temperature=0.0, random_seed=1, stop=["\n\n"]
    )
    assert answer.choices[0].message and answer.choices[0].message.content == "return 1\n"
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("stop", 4)


async def test_fim_stream(mistral_client: Mistral) -> None:
    async with await mistral_client.fim.stream_async(model=MODEL, prompt="def f", suffix="\n") as events:
        chunks = [event.data async for event in events]
    assert "".join(str(chunk.choices[0].delta.content) for chunk in chunks) == "return 1\n"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == 4


async def test_the_blocking_client(server: str) -> None:
    def use() -> object:
        with Mistral(api_key="none", server_url=server) as client:
            return client.fim.complete(model=MODEL, prompt="def f").choices[0].message.content

    assert await asyncio.to_thread(use) == "return 1\n"


async def test_failures_are_the_clients_own_exceptions(mistral_client: Mistral) -> None:
    with pytest.raises(SDKError, match="codestral") as unknown:
        await mistral_client.fim.complete_async(model="codestral", prompt="x")
    assert unknown.value.status_code == 404
    with pytest.raises(SDKError, match="min_tokens is not supported here"):
        await mistral_client.fim.complete_async(model=MODEL, prompt="x", min_tokens=3)
