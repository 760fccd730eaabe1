"""A burst of requests on an autoscaled model: groups come, share the backlog, and go again."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve

from serving.app import application
from serving.config import ModelConfig
from serving.engine.request import GenerationRequest
from serving.gateway.groups.pool import GroupPool
from tests.gateway.collected import collected
from tests.service.conftest import Service, groups_of
from tests.service.simulated_group import SimulatedGroup, simulated_service

_APP, _MODEL = "burst", "burst-model"
_REQUESTS, _TOKENS = 60, 100  # of 10 ms each: a second for a request, 15 s of work for one group of four rows
_MAX_REPLICAS = 3

pytestmark = [
    pytest.mark.timeout(240),
    # Ray offers nothing else by deployment.
    pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def model(service: Service) -> Iterator[ModelConfig]:
    autoscaling = {
        "min_replicas": 1,
        "max_replicas": _MAX_REPLICAS,
        "upscale_delay_s": 0.5,
        "downscale_delay_s": 3,
        "metrics_interval_s": 0.3,
    }
    limits = {"max_rows": 4, "max_context": 256, "kv_tokens": 2048, "max_queue": 100}
    config = simulated_service(_MODEL, limits, drain_timeout_s=20, autoscaling=autoscaling)
    serve.run(application(config, SimulatedGroup), name=_APP, route_prefix=None)
    yield config.models[0]
    serve.delete(_APP)


def replicas() -> tuple[int, int]:
    """How many groups run or start, and how many run."""
    states: dict[Any, int] = serve.status().applications[_APP].deployments[_MODEL].replica_states
    return states.get("RUNNING", 0) + states.get("STARTING", 0), states.get("RUNNING", 0)


async def until(condition: Callable[[], bool], timeout_s: float) -> float:
    """Waits for a condition; returns how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {replicas()}"
        await asyncio.sleep(0.1)
    return time.monotonic() - started


async def generate(backend: GroupPool, number: int) -> int:
    request = GenerationRequest(request_id=str(number), prompt_ids=(2, 5), max_tokens=_TOKENS)
    return len((await collected(backend, request)).ids)


async def test_a_burst_is_shared_by_new_groups_which_go_when_it_is_over(
    model: ModelConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    await until(lambda: replicas() == (1, 1), 60)
    async with groups_of(model, _APP) as backend:
        await share_a_burst(backend, capsys)
    await until(lambda: replicas() == (1, 1), 60)
    assert f"{_MODEL}: {_MAX_REPLICAS} replica groups" in controller_log(), "decisions and their reasons are logged"
    target = f'codegemma_autoscaling_target_replicas{{.*deployment="{_MODEL}".*}} '
    await until(lambda: re.search(target + "1.0", metrics()) is not None, 60)


async def share_a_burst(backend: GroupPool, capsys: pytest.CaptureFixture[str]) -> None:
    burst = [asyncio.create_task(generate(backend, number)) for number in range(_REQUESTS)]
    raised_s = await until(lambda: replicas()[0] > 1, 30)
    seen: dict[str, int] = {}  # by group: tokens generated; a group that is gone is no longer asked
    while not all(task.done() for task in burst):
        _, running = replicas()
        if running == _MAX_REPLICAS:
            stats = await serve.get_deployment_handle(_MODEL, _APP).broadcast("stats").results_async(timeout_s=60)
            seen = {str(index): group.generated_tokens for index, group in enumerate(stats)}
        await asyncio.sleep(0.2)
    assert [task.result() for task in burst] == [_TOKENS] * _REQUESTS
    with capsys.disabled():
        print(f"\n{_REQUESTS} queued requests raised the target after {raised_s:.1f} s; tokens by group: {seen}")
    assert len(seen) == _MAX_REPLICAS and min(seen.values()) > 0, seen


def controller_log() -> str:
    context = ray.get_runtime_context()
    logs = Path(context.get_temp_dir(), context.get_session_name(), "logs", "serve")
    return "".join(path.read_text() for path in logs.glob("controller_*.log"))


def metrics() -> str:
    """What Prometheus is told by this node; Ray passes its processes' metrics on every few seconds."""
    [node] = ray.nodes()
    return httpx.get(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics").text
