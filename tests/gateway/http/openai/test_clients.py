"""OpenAI's own client against the app on a real server."""

import asyncio
from collections.abc import Iterator

import openai
import pytest

from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend


@pytest.fixture
def blocking_client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_completions_and_chats(openai_client: openai.AsyncOpenAI) -> None:
    completion = await openai_client.completions.create(model="default", prompt="def f", suffix="\n", max_tokens=9)
    assert completion.choices[0].text == "return 1\n"
    assert completion.usage and completion.usage.prompt_tokens_details
    chat = await openai_client.chat.completions.create(model="default", messages=[{"role": "user", "content": "Hi"}])
    assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == ("return 1\n", "stop")


async def test_streams(openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.completions.create(model="default", prompt="x", stream=True, logprobs=1)
    assert "".join([piece.choices[0].text async for piece in stream]) == "return 1\n"
    async with openai_client.chat.completions.stream(
        model="default", messages=[{"role": "user", "content": "Hi"}], stream_options={"include_usage": True}
    ) as events:
        async for _ in events:
            pass
        final = await events.get_final_completion()
    assert final.choices[0].message.content == "return 1\n"
    assert final.usage and final.usage.completion_tokens == 4


async def test_the_blocking_client(blocking_client: openai.OpenAI) -> None:
    def use() -> list[str]:
        whole = blocking_client.completions.create(model="default", prompt=["a", "b"], n=2)
        pieces = blocking_client.completions.create(model="default", prompt="x", stream=True)
        models = blocking_client.models.list()
        return [
            *(choice.text for choice in whole.choices),
            "".join(piece.choices[0].text for piece in pieces),
            *(model.id for model in models),
            blocking_client.models.retrieve("default").id,
        ]

    assert await asyncio.to_thread(use) == ["return 1\n"] * 5 + ["codegemma-test"] * 2


async def test_failures_are_the_clients_own_exceptions(
    openai_client: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    create = openai_client.completions.create
    with pytest.raises(openai.NotFoundError, match='model is "gpt", which is not served here'):
        await create(model="gpt", prompt="x")
    with pytest.raises(openai.BadRequestError) as bad_request:
        await create(model="default", prompt="x", n=9)
    assert (bad_request.value.code, bad_request.value.param) == ("invalid_argument", "n")
    backend.error = ServingError(Reason.OVERLOADED, "Too many.")
    with pytest.raises(openai.RateLimitError):
        await create(model="default", prompt="x")
    with pytest.raises(openai.APIError, match=r"Too many\."):
        async for _ in await create(model="default", prompt="x", stream=True):
            pass
