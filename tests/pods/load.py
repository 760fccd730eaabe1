"""Requests that go on while something is changed: over both protocols, whole and streamed, none tried twice."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from codegemma.client import ApiError, AsyncClient, FimInput, GenerationConfig

_PAUSE_S = 8.0
_TIMEOUT_S = 120.0
_TOKENS = {"whole": 8, "streamed": 24}
_NUMBERS = {
    "whole": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,",
    "streamed": "41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,",
}
"""The model goes on counting, with three nats at least between the likeliest token and the next. Where there is only a
thousandth, the requests that share a step can tip it: sums are rounded in another order."""


@dataclass(frozen=True)
class Ended:
    """A request: its kind, how long it took, and why it failed, if it did."""

    kind: str
    seconds: float
    failure: str | None


@dataclass
class Load:
    """What became of the requests so far."""

    ended: list[Ended] = field(default_factory=list)
    texts: dict[str, set[str]] = field(default_factory=dict)
    """Of each kind, all that was answered: greedy, so always the same."""

    def faults(self) -> list[str]:
        """What should not have been."""
        faults = [f"{each.kind}: {each.failure} after {each.seconds:.1f} s" for each in self.ended if each.failure]
        faults += [f"{kind}: {sorted(texts)} for one prompt" for kind, texts in self.texts.items() if len(texts) > 1]
        return faults

    def __str__(self) -> str:
        failed = sum(each.failure is not None for each in self.ended)
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(each.kind for each in self.ended).items())
        slowest = max((each.seconds for each in self.ended), default=0)
        return f"{len(self.ended)} requests ({kinds}), {failed} failed, the slowest took {slowest:.1f} s"


@asynccontextmanager
async def load(http: str, grpc: str, key: str) -> AsyncIterator[Load]:
    """Asks for as long as this lasts; ends when all requests have.

    Args:
      http: HOST:PORT.
      grpc: HOST:PORT.
      key: an API key.
    """
    seen = Load()
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_keepalive_connections=2)
        http_client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://{http}",
                headers={"authorization": f"Bearer {key}"},
                timeout=_TIMEOUT_S,
                limits=limits,
            )
        )
        # Without the client's own second tries, so that nothing is hidden.
        without_retries = [("grpc.enable_retries", 0)]
        grpc_client = await stack.enter_async_context(
            AsyncClient(grpc, api_key=key, timeout=_TIMEOUT_S, options=without_retries)
        )
        kinds: dict[str, Callable[[], Awaitable[str]]] = {
            "HTTP whole": lambda: _http_whole(http_client),
            "HTTP streamed": lambda: _http_streamed(http_client),
            "gRPC whole": lambda: _grpc_whole(grpc_client),
            "gRPC streamed": lambda: _grpc_streamed(grpc_client),
        }
        async with asyncio.TaskGroup() as group:
            for kind, ask in kinds.items():
                group.create_task(_client(kind, ask, seen, over))
            try:
                yield seen
            finally:
                over.set()


async def _client(kind: str, ask: Callable[[], Awaitable[str]], seen: Load, over: asyncio.Event) -> None:
    while not over.is_set():
        started = time.monotonic()
        failure = None
        try:
            text = await ask()
        except (httpx.HTTPError, ApiError, ValueError) as error:
            failure = f"{error!r} {error}"
        else:
            seen.texts.setdefault(kind, set()).add(text)
        seen.ended.append(Ended(kind, time.monotonic() - started, failure))
        await asyncio.sleep(_PAUSE_S)


def _body(kind: str) -> dict[str, object]:
    return {
        "prompt": f"numbers = [{_NUMBERS[kind]}",
        "max_tokens": _TOKENS[kind],
        "temperature": 0,
        "stream": kind == "streamed",
    }


async def _http_whole(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/completions", json=_body("whole"))
    if answer.status_code != 200:
        raise ValueError(f"HTTP {answer.status_code}: {answer.text}")
    return str(answer.json()["choices"][0]["text"])


async def _http_streamed(client: httpx.AsyncClient) -> str:
    text, last = "", ""
    async with client.stream("POST", "/v1/completions", json=_body("streamed")) as answer:
        if answer.status_code != 200:
            raise ValueError(f"HTTP {answer.status_code}: {(await answer.aread()).decode()}")
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise ValueError(f"in the stream: {event['error']}")
                text += "".join(choice["text"] for choice in event["choices"])
            last = line or last
    if last != "data: [DONE]":
        raise ValueError(f"the stream ended with {last!r}")
    return text


async def _grpc_whole(client: AsyncClient) -> str:
    place = FimInput(prefix=f"values = [{_NUMBERS['whole']}", suffix="\n")
    answer = await client.complete(place, generation_config=_config("whole"))
    return answer.choices[0].text


async def _grpc_streamed(client: AsyncClient) -> str:
    place = FimInput(prefix=f"values = [{_NUMBERS['streamed']}", suffix="\n")
    parts = [part.choice.text async for part in client.stream_complete(place, generation_config=_config("streamed"))]
    return "".join(parts)


def _config(kind: str) -> GenerationConfig:
    return GenerationConfig(max_tokens=_TOKENS[kind], temperature=0)
