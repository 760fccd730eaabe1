"""OpenAI's own client with its default settings repeats what a repetition can mend, and nothing else."""

from collections.abc import AsyncIterator

import openai
import pytest

from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import WIRE_ERRORS, Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend

NOT_MENDED = [reason for reason in Reason if not WIRE_ERRORS[reason].retryable]


@pytest.fixture
async def client(server: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none") as client:
        yield client


@pytest.mark.parametrize("reason", NOT_MENDED)
async def test_what_cannot_be_mended_is_asked_once(
    client: openai.AsyncOpenAI, backend: ScriptedBackend, reason: Reason
) -> None:
    backend.error = ServingError(reason, "No.")
    with pytest.raises(openai.APIStatusError):
        await client.completions.create(model="default", prompt="x")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("ending", [FinishReason.SUPERSEDED, FinishReason.DEADLINE])
async def test_a_superseded_or_late_keystroke_is_asked_once(
    client: openai.AsyncOpenAI, backend: ScriptedBackend, ending: FinishReason
) -> None:
    backend.end = GenerationChunk(finish_reason=ending)
    with pytest.raises(openai.APIStatusError):
        await client.completions.create(model="default", prompt="x", suffix="y", extra_headers={"x-session-id": "c"})
    assert len(backend.requests) == 1


async def test_a_repetition_is_passed_on_as_one(client: openai.AsyncOpenAI, backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.OVERLOADED, "Too many.", retry_after_s=0.01)
    with pytest.raises(openai.RateLimitError):
        await client.with_options(max_retries=1).completions.create(model="default", prompt="x")
    assert [request.repeated for request in backend.requests] == [False, True]
