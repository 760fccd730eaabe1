"""Where a request goes: the prefix cache's hits and the tail of the time to the first token, by placement.

    python -m bench.routing

Developers type into files of their own, each known by its head. The same trace is placed by `choose`, by the hash of
the session whatever the load, and by power of two choices. Real Gateway, HAProxy, Ray Serve, leaders, engines and
prefix caches; a model's step is simulated by a sleep. The four caches together hold every file, one alone does not.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from codegemma.v1.code_assist_service_pb2 import StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput
from ray import serve

from bench.table import markdown
from serving.app import application
from serving.engine.request import GenerationRequest
from serving.gateway.groups.placement import Candidate, affinity, choose
from tests.service.ray_cluster import Addresses, cluster
from tests.service.simulated_group import STEP_S, TOKEN_S, SimulatedGroup, simulated_service

_GROUPS, _SESSIONS, _SECONDS, _WARM_S = 4, 32, 45.0, 15.0
_THINKS_S = 1.0
_TOKENS = 6
_COSTS = {STEP_S: "0.005", TOKEN_S: "0.00005"}
"""About those of a 2B model on a TPU v5e chip: 5 ms for a decode step, 20k prompt tokens a second."""
_LIMITS = {"max_rows": 8, "max_context": 2048, "max_step_tokens": 512, "kv_tokens": 20480, "max_queue": 1000}


@dataclass(frozen=True)
class _Seen:
    """One completion, as its client saw it."""

    first_token_s: float
    prompt_tokens: int
    cached_tokens: int


def always_home[C: Candidate](groups: Sequence[C], request: GenerationRequest, session: str, rows: int) -> C | None:
    """Each session on one group, however full that is."""
    return max(groups, key=lambda group: affinity(session, group.group_id), default=None)


def power_of_two[C: Candidate](groups: Sequence[C], request: GenerationRequest, session: str, rows: int) -> C | None:
    """The less loaded of two at random."""
    return min(random.sample(groups, min(2, len(groups))), key=lambda group: group.load, default=None)


def main() -> None:
    """Prints a Markdown table."""
    rows = []
    with cluster(_COSTS) as addresses:
        for placement in (choose, always_home, power_of_two):
            config = simulated_service("typing", _LIMITS, replicas=_GROUPS, drain_timeout_s=5)
            serve.run(application(config, SimulatedGroup, placement), name="typing")
            seen = asyncio.run(_replay(addresses))
            serve.delete("typing")
            first = sorted(each.first_token_s for each in seen)
            hits = sum(each.cached_tokens for each in seen) / sum(each.prompt_tokens for each in seen)
            tail = [f"{1e3 * first[int(share * len(first))]:.0f}" for share in (0.5, 0.95, 0.99)]
            rows.append((placement.__name__, len(seen), f"{hits:.0%}", *tail))
    print(markdown(["placement", "requests", "prompt tokens cached", "first token p50, ms", "p95", "p99"], rows))


async def _replay(addresses: Addresses) -> list[_Seen]:
    """The trace: the same one each time, whatever the answers."""
    seen: list[_Seen] = []
    started = time.monotonic()
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel, asyncio.TaskGroup() as group:
        stub = CodeAssistServiceStub(channel)

        async def request(text: str, *, counts: bool) -> None:
            answer = await _complete(stub, text)
            if counts:
                seen.append(answer)

        async def developer(number: int) -> None:
            choose = random.Random(number)
            text = "\n".join(f"value_{n} = function_{number}_{n}(a, b)" for n in range(60))
            at = choose.uniform(0, _THINKS_S)
            while at < _SECONDS:
                await asyncio.sleep(started + at - time.monotonic())
                text += choose.choice(("x", " y", "\nz", "()"))
                group.create_task(request(text, counts=at > _WARM_S))
                at += choose.expovariate(1 / _THINKS_S)

        for number in range(_SESSIONS):
            group.create_task(developer(number))
    return seen


async def _complete(stub: CodeAssistServiceStub, text: str) -> _Seen:
    request = StreamCompleteRequest(
        fim=FimInput(prefix=text, suffix="\n\nprint(value_1)\n"),
        generation_config=GenerationConfig(max_tokens=_TOKENS),
    )
    started = time.perf_counter()
    first = 0.0
    async for part in stub.StreamComplete(request):
        first = first or time.perf_counter() - started
        usage = part.usage
    return _Seen(first, usage.prompt_tokens, usage.cached_tokens)


if __name__ == "__main__":
    main()
