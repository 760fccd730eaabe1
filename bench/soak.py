"""Mixed load with random cancels for a long time: whether memory grows, steps recompile or anything is left over.

    python -m bench.soak --minutes 30

Two tiny models with random weights; real Gateway, HAProxy, Ray Serve, leaders, engines and JAX.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from ray import serve

from bench.memory_growth import HEADER, MemoryGrowth
from bench.table import markdown
from serving.app import build
from serving.engine.stats import EngineStats
from serving.supervision.processes import service_processes
from tests.service.mixed_load import KINDS, MixedClients, mixed_clients, until
from tests.service.ray_cluster import Addresses, cluster
from tests.service.tiny_codegemma import write_tiny_codegemma

_APP, _MODELS = "soak", ("fim", "chat")
_CLIENTS, _CANCELLED = 6, 0.3
_THINKS_S, _TIMEOUT_S = 0.6, 60.0
_SAMPLE_S = 10.0


def main(minutes: Annotated[float, typer.Option(min=6, help="How long; the first five warm up.")] = 30) -> None:
    """Prints tables; the exit status is 1 if something is left over, recompiled, or failed."""
    with tempfile.TemporaryDirectory() as directory, cluster() as addresses:
        checkpoint = str(write_tiny_codegemma(Path(directory)))
        limits = {"max_rows": 4, "max_step_tokens": 64, "max_context": 1024, "kv_tokens": 4096}
        models = [
            {"id": role, "checkpoint": checkpoint, "roles": [role], "dtype": "float32", "limits": limits}
            for role in _MODELS
        ]
        serve.run(build({"models": models}), name=_APP)
        growth, ends = asyncio.run(_soak(addresses, minutes * 60))
        faults = [f"{end}: {number}" for end, number in ends.items() if end not in ("complete", "cancelled")]
        faults += _left_over()
    print(f"{minutes:g} minutes, {dict(ends)}\n")
    print(markdown(HEADER, growth.rows()))
    print(*faults or ["Nothing left over, nothing recompiled."], sep="\n")
    sys.exit(1 if faults else 0)


async def _soak(addresses: Addresses, seconds: float) -> tuple[MemoryGrowth, Counter[str]]:
    started = time.monotonic()
    ends: Counter[str] = Counter()
    growth = MemoryGrowth()
    numbers = count()

    async def client(clients: MixedClients, choose: random.Random) -> None:
        while time.monotonic() - started < seconds:
            ends[await _request(clients, choose, next(numbers))] += 1
            await asyncio.sleep(choose.expovariate(1 / _THINKS_S))

    async def sampler() -> None:
        while (now := time.monotonic() - started) < seconds:
            found = service_processes()
            growth.sample(now, [(f"{kind} {each.pid}", each) for kind in found for each in found[kind]])
            if int(now / _SAMPLE_S) % 6 == 0:
                print(f"{now / 60:4.0f} min  {dict(ends)}", file=sys.stderr, flush=True)
            await asyncio.sleep(_SAMPLE_S)

    async with mixed_clients(addresses, _TIMEOUT_S) as clients, asyncio.TaskGroup() as group:
        group.create_task(sampler())
        for number in range(_CLIENTS):
            group.create_task(client(clients, random.Random(number)))
    return growth, ends


async def _request(clients: MixedClients, choose: random.Random, number: int) -> str:
    prompt = "\n".join(f"value_{n} = f{number}({n})" for n in range(choose.randrange(1, 30)))
    stream = asyncio.create_task(clients.stream(choose.choice(KINDS), prompt, choose.randrange(1, 100)))
    if choose.random() < _CANCELLED:
        await asyncio.wait([stream], timeout=choose.uniform(0, 1))
        if stream.cancel():
            await asyncio.wait([stream])
            return "cancelled"
    end = await stream
    return end.failure or "complete"


def _left_over() -> list[str]:
    def stats() -> list[EngineStats]:
        return [stats for model in _MODELS for stats in _ask(model, "stats")]

    faults = []
    try:
        asyncio.run(until(lambda: not any(each.running or each.queued for each in stats()), 30, "no request is left"))
    except TimeoutError as error:
        faults.append(str(error))
    faults += [f"pages in use: {each}" for each in stats() if each.free_pages != each.total_pages]
    faults += [f"{model} recompiled {n} times" for model in _MODELS for n in _ask(model, "recompilations") if n]
    return faults


def _ask(model: str, what: str) -> list[Any]:
    answers: list[Any] = serve.get_deployment_handle(model, _APP).broadcast(what).results(timeout_s=30)
    return answers


if __name__ == "__main__":
    typer.run(main)
