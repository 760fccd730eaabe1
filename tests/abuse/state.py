"""State of a service under abuse: what it holds, how long its loop stood still, and whether it still answers."""

import asyncio
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import psutil
from codegemma.v1.code_assist_service_pb2 import CompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig

from serving.telemetry import metrics
from serving.telemetry.loop_watch import STALL_S
from serving.telemetry.scrape import Scrape
from tests.abuse.target import HOST, Door, Target

_ANSWER_S = 60.0
_NOTHING_LEFT = (
    metrics.OPEN_REQUESTS,
    metrics.RUNNING_REQUESTS,
    metrics.WAITING_REQUESTS,
    metrics.QUEUE_DEPTH,
    metrics.KV_USED_RATIO,
    metrics.RECOMPILATIONS,
)
_SETTLED_S = 60.0
_MORE_FILES = 8
"""Connections that a service may keep for the next request."""


def scrape(target: Target) -> Scrape:
    """Its metrics now."""
    with urllib.request.urlopen(target.metrics_url, timeout=20) as answer:
        return Scrape.parse([answer.read().decode()], time.monotonic())


async def settled(target: Target) -> Scrape:
    """Its metrics once they hold what has happened up to now: from the second report on."""
    seen = await asyncio.to_thread(scrape, target)
    for _ in range(2):
        before = _observations(seen)
        async with asyncio.timeout(_SETTLED_S):
            while _observations(seen) == before:
                await asyncio.sleep(0.2)
                seen = await asyncio.to_thread(scrape, target)
    return seen


async def stalls(target: Target) -> int:
    """Seconds so far in which the Gateway's loop stood still for too long."""
    buckets = (await settled(target)).buckets(metrics.LOOP_STALL_SECONDS)
    return int(buckets[float("inf")] - buckets[STALL_S])


def observed_stalls(before: dict[float, float], now: dict[float, float]) -> float:
    """The bound, in seconds, below which all stalls between two states of the histogram stayed."""
    total = now[float("inf")] - before.get(float("inf"), 0.0)
    return next(bound for bound, count in now.items() if count - before.get(bound, 0.0) >= total)


def _observations(seen: Scrape) -> float:
    return seen.buckets(metrics.LOOP_STALL_SECONDS).get(float("inf"), 0)


async def silent_doors(target: Target) -> list[str]:
    """The doors at which a normal request gets no answer, and what comes instead."""
    return [fault for door, port in target.ports.items() if (fault := await _ask(door, port))]


async def _ask(door: Door, port: int) -> str:
    try:
        if door in (Door.HTTP, Door.DIRECT_HTTP):
            async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=_ANSWER_S) as client:
                (await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 2})).raise_for_status()
        else:
            async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
                request = CompleteRequest(prompt="a", generation_config=GenerationConfig(max_tokens=2))
                await CodeAssistServiceStub(channel).Complete(request, timeout=_ANSWER_S)
    except (httpx.HTTPError, grpc.aio.AioRpcError) as error:
        return f"{door} does not answer a normal request: {error!r}"
    return ""


@dataclass(frozen=True)
class Held:
    """What the Gateway's process holds.

    Attributes:
      memory: its resident bytes.
      files: its open files and sockets.
    """

    memory: int
    files: int

    @classmethod
    def by(cls, gateway: psutil.Process) -> "Held":
        """What it holds now; its peak is counted from now on."""
        Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")  # the only way to set VmHWM back
        return cls(gateway.memory_info().rss, gateway.num_fds())


def peak_memory(gateway: psutil.Process) -> int:
    """The most bytes that were resident since it was last asked what it holds."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def leftovers(target: Target, before: Held) -> list[str]:
    """What is left of requests once the service has had time to end them."""
    deadline = time.monotonic() + _SETTLED_S
    while True:
        seen = await asyncio.to_thread(scrape, target)
        left = [f"{metric.name} is {value:g}" for metric in _NOTHING_LEFT if (value := seen.total(metric))]
        files = target.gateway.num_fds()
        if files > before.files + _MORE_FILES:
            left.append(f"the Gateway has {files} open files, {before.files} before")
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.5)
