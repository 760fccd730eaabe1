"""A client that goes away frees its place, whatever the protocol and the phase of its request."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from codegemma.v1.code_assist_service_pb2 import CompleteRequest, StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput

from serving.engine.stats import EngineStats
from tests.service.conftest import FIM, Service

_TRIALS = 200
_CONCURRENT = 8  # twice the rows of the model: half of the requests are cancelled while they are queued
_MAX_TOKENS = 2500  # would run for many seconds each if it were not cancelled
_SHORT = "def add(a, b):\n    "
_LONG = "\n".join(f"value_{n} = compute({n})" for n in range(90))  # many prefill steps

Cancel = Callable[[Service, str, float], Awaitable[None]]


async def _http_stream(service: Service, prefix: str, after_s: float) -> None:
    async with _connected(service) as client:
        body = {"model": FIM, "prompt": prefix, "suffix": "\n", "max_tokens": _MAX_TOKENS, "stream": True}

        async def read() -> None:
            async with client.stream("POST", "/v1/completions", json=body) as response:
                assert response.status_code == 200
                async for _ in response.aiter_lines():
                    pass

        await _run_for(read(), after_s)


async def _http_unary(service: Service, prefix: str, after_s: float) -> None:
    async with _connected(service) as client:
        body = {"model": FIM, "prompt": prefix, "suffix": "\n", "max_tokens": _MAX_TOKENS}
        await _run_for(client.post("/v1/completions", json=body), after_s)


async def _grpc_stream(service: Service, prefix: str, after_s: float) -> None:
    async with grpc.aio.insecure_channel(service.grpc_target) as channel:
        request = StreamCompleteRequest(
            fim=FimInput(prefix=prefix, suffix="\n"), generation_config=GenerationConfig(max_tokens=_MAX_TOKENS)
        )

        async def read() -> None:
            async for _ in CodeAssistServiceStub(channel).StreamComplete(request):
                pass

        await _run_for(read(), after_s)


async def _grpc_unary(service: Service, prefix: str, after_s: float) -> None:
    async with grpc.aio.insecure_channel(service.grpc_target) as channel:
        request = CompleteRequest(
            fim=FimInput(prefix=prefix, suffix="\n"), generation_config=GenerationConfig(max_tokens=_MAX_TOKENS)
        )

        async def call() -> None:
            await CodeAssistServiceStub(channel).Complete(request)

        await _run_for(call(), after_s)


@asynccontextmanager
async def _connected(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=None) as client:
        await client.get("/v1/models")  # so that it is requests that are cancelled, not connecting
        yield client


async def _run_for(work: Awaitable[object], seconds: float) -> None:
    """Run `work`, which must not end by itself, and cancel it after `seconds`."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert not done, f"ended before it was cancelled: {task}"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("cancel", [_http_unary, _http_stream, _grpc_stream, _grpc_unary])
async def test_cancelled_requests_leave_nothing_behind(service: Service, cancel: Cancel) -> None:
    before = await asyncio.to_thread(service.stats, FIM)
    choose = random.Random(cancel.__name__)
    slots = asyncio.Semaphore(_CONCURRENT)

    async def trial(number: int) -> None:
        # Each has a prompt of its own: requests for the same tokens would share one computation.
        prefix, after_s = f"{choose.choice((_SHORT, _LONG))}# {number}\n", choose.uniform(0, 0.4)
        async with slots:
            await cancel(service, prefix, after_s)

    await asyncio.gather(*(trial(number) for number in range(_TRIALS)))
    after = await asyncio.to_thread(_idle, service)
    assert after.free_pages == after.total_pages
    assert after.aborted > before.aborted, "no trial reached the engine"
    assert after.deadline_drops == before.deadline_drops


def _idle(service: Service) -> EngineStats:
    """Wait until the engine holds no request; far sooner than a request that runs on would end."""
    give_up = time.monotonic() + 15
    while (stats := service.stats(FIM)).running + stats.queued:
        assert time.monotonic() < give_up, f"still running: {stats}"
    return stats
