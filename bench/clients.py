"""Clients that measure: requests per second and the time to the first token, over HTTP and gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import aiohttp
import grpc
from codegemma.v1.code_assist_service_pb2 import StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput

from serving.quantile import quantile
from tests.service.ray_cluster import Addresses

Send = Callable[[int], Awaitable[float]]
"""Sends a request with this number, reads the whole stream, and returns the seconds to its first token."""

_numbers = count()


@dataclass(frozen=True)
class Throughput:
    """What a number of clients saw, each sending its next request when it has the answer to the one before.

    Attributes:
      first_token_s: of each request, ascending.
    """

    requests_per_s: float
    first_token_s: list[float]

    def percentile_ms(self, share: float) -> float:
        """Milliseconds within which so large a share of the requests had their first token.

        Raises:
          ValueError: there was no request.
        """
        seconds = quantile(self.first_token_s, share)
        if seconds is None:
            raise ValueError("No request had a first token within the time: measure for longer, or start the service.")
        return 1e3 * seconds


@asynccontextmanager
async def http_client(addresses: Addresses, max_tokens: int) -> AsyncIterator[Send]:
    """Streamed completions over HTTP."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(addresses.url, connector=connector) as session:

        async def send(number: int) -> float:
            body = {"prompt": f"def f{number}(", "suffix": "\n", "max_tokens": max_tokens, "stream": True}
            started = time.perf_counter()
            async with session.post("/v1/completions", json=body) as response:
                response.raise_for_status()
                await response.content.readany()
                first = time.perf_counter() - started
                async for _ in response.content.iter_any():
                    pass
            return first

        yield send


@asynccontextmanager
async def grpc_client(addresses: Addresses, max_tokens: int) -> AsyncIterator[Send]:
    """Streamed completions over gRPC, on one channel."""
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel:
        stub = CodeAssistServiceStub(channel)

        async def send(number: int) -> float:
            started = time.perf_counter()
            parts = aiter(
                stub.StreamComplete(
                    StreamCompleteRequest(
                        fim=FimInput(prefix=f"def f{number}(", suffix="\n"),
                        generation_config=GenerationConfig(max_tokens=max_tokens),
                    )
                )
            )
            await anext(parts)
            first = time.perf_counter() - started
            async for _ in parts:
                pass
            return first

        yield send


CLIENTS = {"HTTP": http_client, "gRPC": grpc_client}


async def load(send: Send, clients: int, seconds: float) -> Throughput:
    """Keeps `clients` requests in flight for so long, after a second to warm up."""
    first_token_s: list[float] = []
    started = time.perf_counter() + 1
    ends = started + seconds

    async def client() -> None:
        while time.perf_counter() < ends:
            first = await send(next(_numbers))
            if started < time.perf_counter() < ends:
                first_token_s.append(first)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return Throughput(len(first_token_s) / seconds, sorted(first_token_s))
