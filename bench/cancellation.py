"""How many steps the engine still runs for a request after its client went away.

Starts the demo model behind Ray Serve, as `codegemma serve` does, and cancels requests in decode over each protocol.
The count begins with the client's close, so it includes the way through HAProxy, Gateway and Ray.

    python -m bench.cancellation
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
import httpx
from codegemma.v1.code_assist_service_pb2 import CompleteRequest, StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput
from ray import serve

from serving.app import build
from serving.cli.serve_file import demo_file, read_serve_file
from serving.engine.stats import EngineStats
from tests.service.ray_cluster import cluster

_TRIALS = 20
_PREFIX = "def fibonacci(n):\n"
_MAX_TOKENS = 4000


class _Engine:
    """A look into the engine of the one model."""

    def __init__(self, model: str, app: str) -> None:
        self._handle = serve.get_deployment_handle(model, app)

    def stats(self) -> EngineStats:
        stats: list[EngineStats] = self._handle.broadcast("stats").results(timeout_s=30)
        return stats[0]

    async def when(self, condition: Callable[[EngineStats], bool]) -> EngineStats:
        """Where it stands as soon as the condition holds."""
        give_up = time.monotonic() + 60
        while not condition(stats := await asyncio.to_thread(self.stats)):
            if time.monotonic() > give_up:
                sys.exit(f"gave up after 60 s: {stats}")
        return stats


async def _http(url: str, *, stream: bool) -> None:
    body = {"prompt": _PREFIX, "suffix": "", "max_tokens": _MAX_TOKENS, "stream": stream}
    async with httpx.AsyncClient(timeout=None) as client, client.stream("POST", url, json=body) as response:
        async for _ in response.aiter_bytes():
            pass


async def _grpc(target: str, *, stream: bool) -> None:
    fim, config = FimInput(prefix=_PREFIX), GenerationConfig(max_tokens=_MAX_TOKENS)
    async with grpc.aio.insecure_channel(target) as channel:
        stub = CodeAssistServiceStub(channel)
        if stream:
            async for _ in stub.StreamComplete(StreamCompleteRequest(fim=fim, generation_config=config)):
                pass
        else:
            await stub.Complete(CompleteRequest(fim=fim, generation_config=config))


async def _steps_after_close(engine: _Engine, request: Callable[[], Awaitable[None]]) -> int:
    before = await engine.when(lambda stats: not stats.running)
    call = asyncio.ensure_future(request())
    last = await engine.when(lambda stats: stats.steps >= before.steps + 5)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    after = await engine.when(lambda stats: not stats.running)
    return after.steps - last.steps


async def _measure(engine: _Engine, url: str, target: str) -> None:
    requests: dict[str, Callable[[], Awaitable[None]]] = {
        "HTTP stream": lambda: _http(url, stream=True),
        "HTTP": lambda: _http(url, stream=False),
        "gRPC stream": lambda: _grpc(target, stream=True),
        "gRPC": lambda: _grpc(target, stream=False),
    }
    print(f"| {_TRIALS} requests each | steps after the client's close, median | most |\n|---|---|---|")
    for name, request in requests.items():
        steps = [await _steps_after_close(engine, request) for _ in range(_TRIALS)]
        print(f"| {name} | {statistics.median(steps):g} | {max(steps)} |", flush=True)


def main() -> None:
    """Measure and print a table."""
    file = read_serve_file(demo_file())
    with cluster() as addresses:
        serve.run(build(file.args), name=file.name)
        engine = _Engine(file.config.models[0].id, file.name)
        asyncio.run(_measure(engine, f"{addresses.url}/v1/completions", addresses.grpc_target))


if __name__ == "__main__":
    main()
