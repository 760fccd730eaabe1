"""Anthropic's own client against the app on a real server."""

import asyncio
from collections.abc import AsyncIterator

import anthropic
import pytest
from anthropic.types import MessageParam

from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend

MODEL = "codegemma-test"
MESSAGES: list[MessageParam] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def anthropic_client(server: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=server, api_key="none", max_retries=0) as client:
        yield client


async def test_a_message(anthropic_client: anthropic.AsyncAnthropic) -> None:
    message = await anthropic_client.messages.create(model=MODEL, max_tokens=8, messages=MESSAGES, system="S")
    assert [block.text for block in message.content if block.type == "text"] == ["return 1\n"]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 4)


async def test_a_stream(anthropic_client: anthropic.AsyncAnthropic) -> None:
    async with anthropic_client.messages.stream(model=MODEL, max_tokens=8, messages=MESSAGES) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == "return 1\n"
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 4)
    counted = await anthropic_client.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert final.usage.input_tokens == counted.input_tokens


async def test_the_blocking_client(server: str) -> None:
    def use() -> str:
        with (
            anthropic.Anthropic(base_url=server, api_key="none", max_retries=0) as client,
            client.messages.stream(model=MODEL, max_tokens=8, messages=MESSAGES) as stream,
        ):
            return stream.get_final_text()

    assert await asyncio.to_thread(use) == "return 1\n"


async def test_failures_are_the_clients_own_exceptions(
    anthropic_client: anthropic.AsyncAnthropic, backend: ScriptedBackend
) -> None:
    create = anthropic_client.messages.create
    with pytest.raises(anthropic.NotFoundError, match="claude"):
        await create(model="claude", max_tokens=1, messages=MESSAGES)
    with pytest.raises(anthropic.BadRequestError, match="tool_choice"):
        await create(model=MODEL, max_tokens=1, messages=MESSAGES, tool_choice={"type": "any"})
    backend.error = ServingError(Reason.OVERLOADED, "Too many.")
    with pytest.raises(anthropic.RateLimitError):
        await create(model=MODEL, max_tokens=9, messages=MESSAGES)
    with pytest.raises(anthropic.APIStatusError, match=r"Too many\."):
        async for _ in await create(model=MODEL, max_tokens=9, messages=MESSAGES, stream=True):
            pass
