"""Ollama's own Python client against the app on a real server."""

import asyncio
from collections.abc import AsyncIterator

import ollama
import pytest

from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend

MODEL = "codegemma-test"


@pytest.fixture
async def ollama_client(server: str) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=server) as client:
        yield client


async def test_generations_with_and_without_a_suffix(
    ollama_client: ollama.AsyncClient, backend: ScriptedBackend
) -> None:
    filled = await ollama_client.generate(MODEL, "def f", suffix="\n", options={"num_predict": 9, "temperature": 0})
    assert (filled.response, filled.done, filled.done_reason, filled.eval_count) == ("return 1\n", True, "stop", 4)
    assert 68 in backend.requests[0].prompt_ids
    pieces = [piece async for piece in await ollama_client.generate(MODEL, "def f(", stream=True)]
    assert "".join(piece.response or "" for piece in pieces) == "return 1\n"
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]


async def test_chats(ollama_client: ollama.AsyncClient) -> None:
    messages = [{"role": "user", "content": "hi"}]
    whole = await ollama_client.chat(MODEL, messages)
    assert (whole.message.role, whole.message.content, whole.done_reason) == ("assistant", "return 1\n", "stop")
    pieces = [piece async for piece in await ollama_client.chat(MODEL, messages, stream=True)]
    assert "".join(piece.message.content or "" for piece in pieces) == "return 1\n"


async def test_models(ollama_client: ollama.AsyncClient) -> None:
    assert [model.model for model in (await ollama_client.list()).models] == [MODEL]
    assert [model.context_length for model in (await ollama_client.ps()).models] == [512]
    shown = await ollama_client.show(MODEL)
    assert shown.capabilities == ["completion", "insert"]
    assert shown.template and ".Suffix" in shown.template
    assert shown.modelinfo and shown.modelinfo["gemma.context_length"] == 512


async def test_the_blocking_client_loads_a_model_and_streams(server: str) -> None:
    def use() -> list[str | None]:
        with ollama.Client(host=server) as client:
            loaded = client.generate(MODEL)
            text = "".join(piece.response or "" for piece in client.generate(MODEL, "x", stream=True))
        return [loaded.done_reason, text]

    assert await asyncio.to_thread(use) == ["load", "return 1\n"]


async def test_failures_are_texts_in_the_clients_own_exception(
    ollama_client: ollama.AsyncClient, backend: ScriptedBackend
) -> None:
    with pytest.raises(ollama.ResponseError, match='model is "llama3", which is not served here') as unknown:
        await ollama_client.generate("llama3", "x")
    assert unknown.value.status_code == 404
    for request in (ollama_client.pull("llama3"), ollama_client.embed(MODEL, "x"), ollama_client.delete(MODEL)):
        with pytest.raises(ollama.ResponseError) as refused:
            await request
        assert refused.value.status_code == 501
    backend.error = ServingError(Reason.OVERLOADED, "Too many.")
    with pytest.raises(ollama.ResponseError, match=r"Too many\."):
        async for _ in await ollama_client.generate(MODEL, "x", stream=True):
            pass
