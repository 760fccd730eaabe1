"""What a client sees when a group fails, hangs or dies, and that the group comes back."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from ray import serve

from serving.app import application
from serving.config import ModelConfig
from serving.engine.request import GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.groups.pool import GroupPool
from tests.gateway.collected import collected
from tests.service.conftest import Service, groups_of
from tests.service.failing_group import FAIL, HANG, FailingGroup
from tests.service.simulated_group import simulated_service

_APP, _MODEL = "failures", "failing"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(service: Service) -> Iterator[ModelConfig]:
    limits = {"max_rows": 8, "max_context": 256, "kv_tokens": 4096}
    config = simulated_service(_MODEL, limits, step_timeout_s=2, drain_timeout_s=5)
    serve.run(application(config, FailingGroup), name=_APP, route_prefix=None)
    yield config.models[0]
    serve.delete(_APP)


@pytest.fixture
async def backend(model: ModelConfig) -> AsyncIterator[GroupPool]:
    async with groups_of(model, _APP) as pool:
        yield pool


async def generate(backend: GroupPool, request_id: str, *ids: int, tokens: int = 3, **fields: Any) -> int:
    request = GenerationRequest(request_id=request_id, prompt_ids=(2, 5, *ids), max_tokens=tokens, **fields)
    return len((await collected(backend, request)).ids)


async def serving_again(backend: GroupPool, timeout_s: float = 60) -> None:
    """Waits until the group answers; whatever it says until then may be tried again."""
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                assert await generate(backend, f"probe-{time.monotonic()}") == 3
            return
        except ServingError as error:
            assert error.wire.retryable, error
            assert time.monotonic() < give_up, "the group did not come back"
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("trouble", [FAIL, HANG], ids=["fails", "hangs"])
async def test_a_step_that_fails_or_hangs_ends_its_requests_retryably_and_the_group_comes_back(
    backend: GroupPool, trouble: int
) -> None:
    await serving_again(backend)
    begun = asyncio.create_task(generate(backend, f"begun-{trouble}", tokens=200))
    await asyncio.sleep(0)
    for task in (begun, asyncio.create_task(generate(backend, f"trouble-{trouble}", trouble))):
        with pytest.raises(ServingError) as error:
            async with asyncio.timeout(60):
                await task
        assert error.value.reason is Reason.UNAVAILABLE
        assert error.value.retry_after_s
    await serving_again(backend)


async def test_killing_a_group_ends_every_stream_at_once_and_the_group_comes_back(backend: GroupPool) -> None:
    await serving_again(backend)
    [pid] = await serve.get_deployment_handle(_MODEL, _APP).broadcast("pid").results_async(timeout_s=30)
    streams = [asyncio.create_task(generate(backend, f"stream-{number}", tokens=200)) for number in range(16)]
    stats = serve.get_deployment_handle(_MODEL, _APP)
    while not (await stats.broadcast("stats").results_async(timeout_s=30))[0].generated_tokens > 20:
        pass
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*streams, return_exceptions=True)
    for end in ends:  # what had not begun may have been answered by the group that followed
        assert end == 200 or (isinstance(end, ServingError) and end.wire.retryable), end
    assert any(isinstance(end, ServingError) for end in ends)
    await serving_again(backend)


async def test_a_request_without_time_left_is_refused_at_once(backend: GroupPool) -> None:
    await serving_again(backend)
    with pytest.raises(ServingError) as error:
        await generate(backend, "late", timeout_s=1.0, sent_at=time.time() - 2)
    assert error.value.reason is Reason.DEADLINE_EXCEEDED
