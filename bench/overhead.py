"""What the service adds to the time to the first token: HTTP and gRPC against the engine alone.

python -m bench.overhead
"""

import asyncio
import time

from bench.clients import CLIENTS, Throughput, load
from bench.plain_ray import deploy_plain_ray
from bench.simulated_service import deploy, simulated_cluster
from bench.table import markdown
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.engine.request import GenerationChunk, GenerationRequest
from sharding.step import Limits
from tests.service.ray_cluster import Addresses
from tests.service.simulated_group import SimulatedRunner

_STEP_S, _ROWS, _TOKENS = 0.01, 16, 8
_SECONDS = 15.0
_PROMPT = (2, 67, 1645, 586, 69, 108, 68)
_LIMITS = Limits(page_size=32, num_pages=16 * _ROWS, max_rows=_ROWS, max_step_tokens=256, max_context=512)


async def _engine_alone(clients: int) -> Throughput:
    """The same engine and model in this process, with nothing around it."""
    engine = Engine(SimulatedRunner(_LIMITS, _STEP_S), max_queue=64)
    thread = EngineThread(engine)
    thread.start()

    async def send(number: int) -> float:
        loop = asyncio.get_running_loop()
        last = asyncio.Event()
        began: list[float] = []

        def on_chunk(chunk: GenerationChunk) -> None:
            if not began:
                began.append(time.perf_counter())
            if chunk.finish_reason:
                loop.call_soon_threadsafe(last.set)

        started = time.perf_counter()
        engine.submit(GenerationRequest(request_id=str(number), prompt_ids=_PROMPT, max_tokens=_TOKENS), on_chunk)
        await last.wait()
        return began[0] - started

    try:
        return await load(send, clients, _SECONDS)
    finally:
        thread.stop(drain=False, timeout_s=5)


async def _served(addresses: Addresses, protocol: str, clients: int) -> Throughput:
    async with CLIENTS[protocol](addresses, _TOKENS) as send:
        return await load(send, clients, _SECONDS)


def _row(clients: int, through: str, p50_ms: float, alone_ms: float) -> tuple[int, str, str, str, str]:
    return clients, through, f"{p50_ms:.1f}", f"{p50_ms - alone_ms:.1f}", f"{p50_ms / alone_ms:.2f}"


def main() -> None:
    """Prints a Markdown table."""
    rows = []
    with simulated_cluster(_STEP_S) as addresses:
        deploy(groups=1, rows=_ROWS)
        engine = {clients: asyncio.run(_engine_alone(clients)).percentile_ms(0.5) for clients in (1, 16)}
        for clients, alone in engine.items():
            rows.append((clients, "engine alone", f"{alone:.1f}", "", ""))
            for protocol in CLIENTS:
                measured = asyncio.run(_served(addresses, protocol, clients)).percentile_ms(0.5)
                rows.append(_row(clients, protocol, measured, alone))
        deploy_plain_ray(_STEP_S)
        for clients, alone in engine.items():
            measured = asyncio.run(_served(addresses, "HTTP", clients)).percentile_ms(0.5)
            rows.append(_row(clients, "plain Ray Serve, HTTP", measured, alone))
    rows.sort(key=lambda row: row[0])
    print(markdown(["clients", "through", "first token p50, ms", "added, ms", "times the engine's"], rows))


if __name__ == "__main__":
    main()
