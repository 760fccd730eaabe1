"""Kills parts of a running service under load, then redeploys it, and shows what its clients saw.

    python -m tests.chaos --rounds 20

Each round opens 50 mixed streams, kills one process with SIGKILL once some of them have begun, and checks that

- every stream ends before its deadline, complete or with an error that may be retried,
- every complete one has the text that it has without any trouble,
- the service answers again, and all its parts are back,
- nothing is left over: no running request, no page, no process.

A redeployment under load must not fail a single request.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
from ray import serve
from ray.exceptions import RayError

from serving.app import build
from serving.engine.stats import EngineStats
from serving.supervision.processes import service_processes
from tests.service.mixed_load import KINDS, Ended, MixedClients, mixed_clients, until
from tests.service.ray_cluster import Addresses, cluster
from tests.service.tiny_codegemma import write_tiny_codegemma

_APP, _FIM, _CHAT = "chaos", "fim", "chat"
_TARGETS = ("leader", "host", "Gateway", "HAProxy")
_STREAMS, _TOKENS, _BEGUN = 50, 48, 12
_PROMPTS = [f"def function_{number}(a, b):\n    " for number in range(_STREAMS)]
_REDEPLOY_CLIENTS = 8
_TIMEOUT_S = 90.0
_REDEPLOY_S = 300.0
"""Longer than all new parts together take to start."""
_BACK_S = 120.0
"""When to give up waiting for what was killed; how long it takes is shown."""


@dataclass(frozen=True)
class _Trouble:
    """What came of killing something."""

    ends: list[Ended]
    answering_s: float
    restored_s: float


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Kills; leader, host, Gateway and proxy in turn.")] = 20,
) -> None:
    """Runs the rounds; the exit status is 1 if something was not as it must be."""
    with tempfile.TemporaryDirectory() as directory, cluster() as addresses:
        print("Starting a group of one host, a group of two, and two Gateways...", flush=True)
        checkpoint = write_tiny_codegemma(Path(directory))
        _deploy(checkpoint, "first")
        faults = asyncio.run(_rounds(addresses, rounds))
        faults += asyncio.run(_redeployment(addresses, checkpoint))
    print(*faults or ["Everything as it must be."], sep="\n", flush=True)
    sys.exit(1 if faults else 0)


def _deploy(checkpoint: Path, version: str) -> None:
    """FIM on one host, chat on two."""
    limits = {"max_rows": 8, "max_step_tokens": 64, "max_context": 256, "kv_tokens": 4096, "max_queue": 100}
    common = {
        "checkpoint": str(checkpoint),
        "version": version,
        "dtype": "float32",
        "limits": limits,
        "max_surge_percent": 100,
    }
    models = [
        {"id": _FIM, "roles": ["fim"], **common},
        {"id": _CHAT, "roles": ["chat"], "topology": {"hosts": 2}, **common},
    ]
    serve.run(build({"models": models, "gateway": {"replicas": 2, "request_timeout_s": _REDEPLOY_S}}), name=_APP)


async def _rounds(addresses: Addresses, rounds: int) -> list[str]:
    async with mixed_clients(addresses, _TIMEOUT_S) as clients:
        expected = await _streams(clients)
    faults = [f"before any trouble: {end.failure}" for end in expected if end.failure]
    before = _counted()
    print("round  killed   complete  retryable  slowest  answering again  restored  told", flush=True)
    for number, target in enumerate(islice(cycle(_TARGETS), rounds), start=1):
        try:
            trouble = await _round(addresses, number, target, before)
        except TimeoutError as error:
            return [*faults, f"round {number}, {target}: {error}; processes {_counted()}, before {before}"]
        _show(number, target, trouble)
        faults += [f"round {number}, {target}: {fault}" for fault in _faults(trouble.ends, expected)]
    return faults


async def _round(addresses: Addresses, number: int, target: str, before: Counter[str]) -> _Trouble:
    """Kills a process of this kind under load.

    Raises:
      TimeoutError: it did not come back, or something is left over.
    """
    begun = 0

    def on_text() -> None:
        nonlocal begun
        begun += 1

    async with mixed_clients(addresses, _TIMEOUT_S) as clients:
        streams = asyncio.create_task(_streams(clients, on_text))
        await until(lambda: begun >= _BEGUN or streams.done(), _TIMEOUT_S, "some streams have begun")
        victims = service_processes()[target]
        victim = victims[number // len(_TARGETS) % len(victims)]
        victim.kill()
        await asyncio.to_thread(victim.wait, 10)
        restored = asyncio.create_task(until(lambda: _counted() == before and _all_running(), _BACK_S, "all is back"))
        answering_s = await _answering_again(clients)
        ends = await streams
        restored_s = await restored
    await until(_nothing_left, 30, "no request and no page in use")
    return _Trouble(ends, answering_s, restored_s)


def _counted() -> Counter[str]:
    return Counter({kind: len(processes) for kind, processes in service_processes().items()})


async def _streams(clients: MixedClients, on_text: Callable[[], object] = lambda: None) -> list[Ended]:
    kinds = cycle(KINDS)
    return await asyncio.gather(*(clients.stream(next(kinds), prompt, _TOKENS, on_text) for prompt in _PROMPTS))


async def _answering_again(clients: MixedClients) -> float:
    """Seconds until each kind of request has been answered."""
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(_BACK_S):
        for kind in KINDS:
            attempt = 0
            while (await clients.stream(kind, f"# {started} {attempt}\n", 1)).failure:
                attempt += 1
                await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time() - started


def _faults(ends: list[Ended], expected: list[Ended]) -> list[str]:
    kinds = cycle(KINDS)
    faults = []
    for kind, end, right in zip(kinds, ends, expected, strict=False):
        if end.seconds > _TIMEOUT_S + 1:
            faults.append(f"{kind}: ended after {end.seconds:.0f} s")
        if end.failure and not end.retryable:
            faults.append(f"{kind}: {end.failure}")
        if not end.failure and end.text != right.text:
            faults.append(f"{kind}: wrong text {end.text!r} instead of {right.text!r}")
    return faults


def _show(number: int, target: str, trouble: _Trouble) -> None:
    ends = trouble.ends
    complete, retryable = sum(not end.failure for end in ends), sum(end.retryable for end in ends)
    slowest = max(end.seconds for end in ends)
    told = Counter(end.failure.partition(":")[0] for end in ends if end.failure)
    print(
        f"{number:5}  {target:8} {complete:8}  {retryable:9}  {slowest:6.1f}s {trouble.answering_s:15.1f}s"
        f" {trouble.restored_s:8.1f}s  {dict(told)}",
        flush=True,
    )


def _all_running() -> bool:
    deployments = serve.status().applications[_APP].deployments.values()
    return all(deployment.status == "HEALTHY" for deployment in deployments)


def _nothing_left() -> bool:
    try:
        groups = [stats for model in (_FIM, _CHAT) for stats in _stats(model)]
    except RayError:
        return False  # this process has not noticed yet that a group is gone
    return all(not (each.running or each.queued) and each.free_pages == each.total_pages for each in groups)


def _stats(model: str) -> list[EngineStats]:
    stats: list[EngineStats] = serve.get_deployment_handle(model, _APP).broadcast("stats").results(timeout_s=30)
    return stats


async def _redeployment(addresses: Addresses, checkpoint: Path) -> list[str]:
    """Replaces every group and Gateway while requests come without pause."""
    ends: list[Ended] = []
    deployed = False

    async def client(clients: MixedClients, number: int) -> None:
        while not deployed:
            prompt = f"# {number} {len(ends)}\n"
            ends.append(await clients.stream(KINDS[number % len(KINDS)], prompt, _TOKENS))

    async with mixed_clients(addresses, _REDEPLOY_S) as clients, asyncio.TaskGroup() as group:
        for number in range(_REDEPLOY_CLIENTS):
            group.create_task(client(clients, number))
        await until(lambda: len(ends) > _REDEPLOY_CLIENTS, _TIMEOUT_S, "the load has begun")
        await asyncio.to_thread(_deploy, checkpoint, "second")
        deployed = True
    failed = [end.failure for end in ends if end.failure]
    slowest = max(end.seconds for end in ends)
    print(f"redeployed under load: {len(ends)} requests, {len(failed)} failed, the slowest took {slowest:.1f} s")
    return [f"redeployment: {failure}" for failure in failed]


if __name__ == "__main__":
    typer.run(main)
