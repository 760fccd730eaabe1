"""A generation that fails, is cancelled or takes too long: what the client reads, and the backend is free."""

import asyncio

import pytest

from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.request import Piece
from tests.gateway.asking import FIM_PROMPT, answer, code_request, refusal, text_in
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service


async def test_a_superseded_generation_is_an_error_of_its_own(backend: ScriptedBackend) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.SUPERSEDED)
    error = await refusal(one_model_service(backend), code_request(FIM_PROMPT, session_id="cursor"))
    assert error.reason is Reason.SUPERSEDED
    assert "session" in error.message


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (GenerationChunk(finish_reason=FinishReason.DEADLINE), Reason.DEADLINE_EXCEEDED),
        (GenerationChunk(finish_reason=FinishReason.ABORTED), Reason.UNAVAILABLE),
        (GenerationChunk(finish_reason=FinishReason.ADAPTER_NOT_FOUND, error="Gone."), Reason.MODEL_NOT_FOUND),
        (GenerationChunk(finish_reason=FinishReason.ADAPTER_FAILED, error="Damaged."), Reason.INVALID_ARGUMENT),
        (GenerationChunk(finish_reason=FinishReason.ERROR, error="Out of pages."), Reason.INTERNAL),
    ],
)
async def test_a_generation_that_is_not_complete_is_an_error(
    backend: ScriptedBackend, end: GenerationChunk, reason: Reason
) -> None:
    backend.end = end
    assert (await refusal(one_model_service(backend), code_request())).reason is reason


async def test_what_a_backend_refuses_reaches_the_client_as_it_is(backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.OVERLOADED, "Too many requests.", retry_after_s=3)
    error = await refusal(one_model_service(backend), code_request(choices=2))
    assert (error.reason, error.message, error.retry_after_s) == (Reason.OVERLOADED, "Too many requests.", 3)
    assert backend.running == 0


async def test_an_unexpected_failure_tells_the_client_nothing_of_the_inside(
    backend: ScriptedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.error = RuntimeError("secret path")
    error = await refusal(one_model_service(backend), code_request())
    assert error.reason is Reason.INTERNAL
    assert "secret" not in error.message
    assert "request r failed" in caplog.text


async def test_a_backend_that_hangs_is_given_up_when_the_time_is_over(backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    error = await refusal(one_model_service(backend), code_request(timeout_s=0.05))
    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert backend.running == 0


@pytest.mark.parametrize("choices", [1, 4])
@pytest.mark.parametrize("pause_at", [0, 1])
async def test_cancelling_the_consumer_frees_the_backend_wherever_it_waits(
    backend: ScriptedBackend, choices: int, pause_at: int
) -> None:
    backend.pause_at = pause_at
    consumer = asyncio.create_task(answer(one_model_service(backend), code_request(choices=choices)))
    await backend.paused.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert backend.running == 0


async def test_closing_the_answer_frees_the_backend(backend: ScriptedBackend) -> None:
    backend.pause_at = 2
    chunks = one_model_service(backend).generate(code_request(choices=3))
    await anext(chunks)
    await chunks.aclose()
    assert backend.running == 0


async def test_a_backend_is_freed_at_the_deadline_though_nobody_reads(backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    parts = one_model_service(backend).generate(code_request(timeout_s=0.05))
    with pytest.raises(ServingError) as error:
        await anext(parts)  # where the time is over before the first part is there, this says so
        await backend.idle.wait()
        await anext(parts)
    assert backend.running == 0
    assert error.value.reason is Reason.DEADLINE_EXCEEDED


async def test_a_backend_is_freed_by_a_stop_text_though_nobody_reads(backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = "one two three", 3
    parts = one_model_service(backend).generate(code_request(stop=(" three",)))
    await anext(parts)
    await backend.idle.wait()
    assert text_in([part async for part in parts if isinstance(part, Piece)]) == " two"
