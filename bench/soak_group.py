"""Replica groups under mixed load for a long time, without Ray: whether the memory of their processes grows.

    python -m bench.soak_group --minutes 240

A group of one host and a group of two, tiny models with random weights; real engines, JAX, channel and links, each
leader and each host in a process of its own. This process is their Gateway. `bench.soak` has the whole service.
"""

import asyncio
import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import psutil
import typer

from bench.memory_growth import HEADER, MemoryGrowth
from bench.table import markdown
from serving.config import ModelConfig
from serving.engine.request import GenerationRequest, Priority
from serving.errors import ServingError
from serving.gateway.backend import ModelBackend
from serving.gateway.groups.pool import GroupPool
from serving.gateway.single_flight import SingleFlight
from serving.group.channel import TOKEN_BYTES
from serving.link import GroupAddress
from serving.servers.reserved_port import reserve_port
from sharding.step import SamplingParams
from tests.gateway.collected import collected
from tests.service.tiny_codegemma import write_tiny_codegemma

_LIMITS = {"max_rows": 4, "max_step_tokens": 64, "max_context": 1024, "kv_tokens": 4096}
_VOCABULARY = 200_000
_CANCELLED, _TIMEOUT_S, _THINKS_S = 0.3, 60.0, 1.0
_SAMPLE_S, _TOLD_S = 10.0, 60.0
_SAMPLING = (
    SamplingParams(),
    SamplingParams(temperature=1.0, top_p=0.9, seed=1),
    SamplingParams(temperature=0.5, top_k=40, logprobs=3),
    SamplingParams(temperature=1.0, repetition_penalty=1.1, frequency_penalty=0.5),
)


def main(
    minutes: Annotated[float, typer.Option(min=8, help="How long; the first five warm up.")] = 240,
    clients: Annotated[int, typer.Option(min=1, help="Of each group; each waits for its answer, and thinks.")] = 4,
) -> None:
    """Prints a table; the exit status is 1 if a process grows, or something is left over, recompiled, or failed."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        checkpoint = str(write_tiny_codegemma(Path(directory)))
        print("Starting a group of one host and a group of two...", file=sys.stderr, flush=True)
        try:
            groups = [_Group(soaked_model(checkpoint, hosts), stack) for hosts in (1, 2)]
        except EndedError as error:
            sys.exit(str(error))
        growth, ends = asyncio.run(_soak(groups, minutes * 60, clients))
        faults = [f"{end}: {number}" for end, number in ends.items() if end not in ("complete", "cancelled")]
        faults += [fault for group in groups for fault in group.left_over()]
    rows = growth.rows()
    print(f"{minutes:g} minutes, {dict(ends)}\n")
    print(markdown(HEADER, rows))
    print(*faults or ["Nothing left over, nothing recompiled."], sep="\n")
    sys.exit(1 if faults or any("grows" in row for row in rows) else 0)


def soaked_model(checkpoint: str, hosts: int) -> ModelConfig:
    """The configuration of a group of so many hosts."""
    model = {"checkpoint": checkpoint, "roles": ["fim", "chat"], "dtype": "float32", "limits": _LIMITS}
    return ModelConfig.model_validate(model | {"id": f"on-{hosts}", "topology": {"hosts": hosts}})


class EndedError(Exception):
    """A process of a group has ended before its time."""


class _Group:
    """The processes of a group.

    Attributes:
      model: its configuration.
      processes: by name.
      address: where it takes links.
    """

    def __init__(self, model: ModelConfig, stack: ExitStack) -> None:
        self.model = model
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._stack = stack
        configuration, token = model.model_dump_json(), secrets.token_bytes(TOKEN_BYTES).hex()
        hosts: list[dict[str, Any]] = []
        if model.topology.hosts > 1:
            coordinator = stack.enter_context(reserve_port(("127.0.0.1", 0)))
            ip, port = coordinator.getsockname()
            for rank in range(model.topology.hosts):
                self._start(f"host {rank}", ["host", configuration, str(rank), f"{ip}:{port}", token])
            hosts = [self._said(name) for name in list(self.processes)]
        self._start("leader", ["leader", configuration, token, *map(json.dumps, hosts)])
        self.address = GroupAddress(**self._said("leader"))

    @property
    def ended(self) -> list[str]:
        """Its processes that have ended, of which none should."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def left_over(self) -> list[str]:
        """What should not be there once nothing is asked for."""
        if ended := self.ended:
            return [f"{self.model.id}: ended: {', '.join(ended)}"]
        leader = self.processes["leader"]
        assert leader.stdin is not None
        try:
            leader.stdin.write("\n")
            leader.stdin.flush()
            stats = self._said("leader")
        except (EndedError, BrokenPipeError):
            return [f"{self.model.id}: ended: leader"]
        faults = []
        if stats["free_pages"] != stats["total_pages"] or stats["running"] or stats["queued"]:
            faults.append(f"{self.model.id}: left over: {stats}")
        if stats["recompilations"]:
            faults.append(f"{self.model.id}: recompiled {stats['recompilations']} times")
        return faults

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "bench.group_process", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        self.processes[name] = process

    def _said(self, name: str) -> dict[str, Any]:
        """The next line of a process.

        Raises:
          EndedError: it has ended instead.
        """
        process = self.processes[name]
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith("\n"):
            raise EndedError(f"{self.model.id}: {name} ended with status {process.wait()}; what it wrote is above.")
        said: dict[str, Any] = json.loads(line)
        return said


async def _soak(groups: Sequence[_Group], seconds: float, clients: int) -> tuple[MemoryGrowth, Counter[str]]:
    growth, ends = MemoryGrowth(), Counter[str]()
    started, numbers = time.monotonic(), count()
    watched = [("Gateway", psutil.Process())] + [
        (f"{group.model.id}: {name}", psutil.Process(process.pid))
        for group in groups
        for name, process in group.processes.items()
    ]

    async def sample() -> None:
        told = -_TOLD_S
        while goes_on():
            now = time.monotonic() - started
            growth.sample(now, watched)
            if now >= told + _TOLD_S:
                told = now
                print(f"{now / 60:4.0f} min  {dict(ends)}", file=sys.stderr, flush=True)
            await asyncio.sleep(_SAMPLE_S)

    def goes_on() -> bool:
        return time.monotonic() - started < seconds and not any(group.ended for group in groups)

    async def client(backend: ModelBackend, choose: random.Random) -> None:
        while goes_on():
            ends[await _request(backend, choose, next(numbers))] += 1
            await asyncio.sleep(choose.expovariate(1 / _THINKS_S))

    async def load(group: _Group) -> None:
        pool = GroupPool(group.model, asyncio.Event().wait)
        pool.update({group.model.id: group.address})
        backend = SingleFlight(pool)
        async with asyncio.TaskGroup() as asking:
            for number in range(clients):
                asking.create_task(client(backend, random.Random(f"{group.model.id} {number}")))
        await pool.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sample())
        for group in groups:
            tasks.create_task(load(group))
    return growth, ends


def random_request(choose: random.Random, name: str, timeout_s: float) -> GenerationRequest:
    """A request of any kind: prompts that the cache has in part, any sampling, any priority."""
    prefix = tuple(range(1000, 1000 + choose.randrange(0, 300)))  # what the cache has
    new = tuple(choose.randrange(1000, _VOCABULARY) for _ in range(choose.randrange(1, 300)))
    return GenerationRequest(
        request_id=name,
        prompt_ids=prefix + new,
        max_tokens=choose.randrange(1, 60),
        sampling=choose.choice(_SAMPLING),
        timeout_s=timeout_s,
        sent_at=time.time(),
        priority=choose.choice(tuple(Priority)),
    )


async def _request(backend: ModelBackend, choose: random.Random, number: int) -> str:
    request = random_request(choose, f"{number}-{uuid4().hex}", _TIMEOUT_S)
    timeout_s = choose.uniform(0, 1) if choose.random() < _CANCELLED else 2 * _TIMEOUT_S
    try:
        async with asyncio.timeout(timeout_s):
            await collected(backend, request)
    except TimeoutError:
        return "cancelled" if timeout_s < _TIMEOUT_S else "hung"
    except ServingError as error:
        return str(error.reason)
    return "complete"


if __name__ == "__main__":
    typer.run(main)
