"""SingleFlight: one computation for many, whoever of them leaves or fails."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.single_flight import SingleFlight
from sharding.step import SamplingParams, Token

STOP = GenerationChunk(finish_reason=FinishReason.STOP)
REQUEST = GenerationRequest(request_id="a", prompt_ids=(2, 5), max_tokens=9)


def chunk(*ids: int, reason: FinishReason | None = None) -> GenerationChunk:
    return GenerationChunk(tokens=tuple(map(Token, ids)), finish_reason=reason)


class Computations:
    """A backend whose computations give what a test puts into their queues.

    Attributes:
      given: by request id: what comes next; an exception is raised.
      closed: ids of the computations that ended or were closed.
    """

    def __init__(self) -> None:
        self.given: dict[str, asyncio.Queue[GenerationChunk | Exception]] = {}
        self.closed: list[str] = []

    def give(self, request_id: str, *items: GenerationChunk | Exception) -> None:
        for item in items:
            self.given.setdefault(request_id, asyncio.Queue()).put_nowait(item)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        queue = self.given.setdefault(request.request_id, asyncio.Queue())
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if item.finish_reason:
                    return
        finally:
            self.closed.append(request.request_id)

    async def ready(self) -> bool:
        return True


async def ids(flights: SingleFlight, request: GenerationRequest) -> tuple[list[int], FinishReason | None]:
    found: list[int] = []
    reason = None
    async with aclosing(flights.generate(request)) as chunks:
        async for piece in chunks:
            found += [token.id for token in piece.tokens]
            reason = piece.finish_reason
    return found, reason


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_identical_requests_share_one_computation_from_its_beginning() -> None:
    backend = Computations()
    flights = SingleFlight(backend)
    first = asyncio.create_task(ids(flights, REQUEST))
    backend.give("a", chunk(1, 2))
    await settle()
    others = [asyncio.create_task(ids(flights, replace(REQUEST, request_id=name, session_id=name))) for name in "bc"]
    await settle()
    backend.give("a", chunk(3), STOP)
    assert await asyncio.gather(first, *others) == [([1, 2, 3], FinishReason.STOP)] * 3
    assert backend.closed == ["a"]
    backend.give("d", chunk(7), STOP)
    assert await ids(flights, replace(REQUEST, request_id="d")) == ([7], FinishReason.STOP)  # what is over is over


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (replace(REQUEST, sampling=SamplingParams(seed=5, top_k=3)), True),  # greedy: neither decides
        (replace(REQUEST, timeout_s=3.0, sent_at=9.0), True),
        (replace(REQUEST, sampling=SamplingParams(temperature=1.0)), False),
        (replace(REQUEST, sampling=SamplingParams(logprobs=0)), False),
        (replace(REQUEST, prompt_ids=(2, 6)), False),
        (replace(REQUEST, max_tokens=8), False),
        (replace(REQUEST, stop_ids=frozenset({1})), False),
        (replace(REQUEST, cache_domain="another"), False),
    ],
)
async def test_only_requests_for_the_same_tokens_share(other: GenerationRequest, shared: bool) -> None:
    backend = Computations()
    flights = SingleFlight(backend)
    running = [asyncio.create_task(ids(flights, request)) for request in (REQUEST, replace(other, request_id="b"))]
    await settle()
    assert sorted(backend.given) == (["a"] if shared else ["a", "b"])
    for name in backend.given:
        backend.give(name, STOP)
    await asyncio.gather(*running)


async def test_the_computation_goes_on_until_the_last_reader_leaves() -> None:
    backend = Computations()
    flights = SingleFlight(backend)
    first, second = (asyncio.create_task(ids(flights, replace(REQUEST, request_id=name))) for name in "ab")
    await settle()
    first.cancel()
    await settle()
    assert backend.closed == []
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert backend.closed == ["a"]
    backend.give("c", STOP)
    assert await ids(flights, replace(REQUEST, request_id="c")) == ([], FinishReason.STOP)


@pytest.mark.parametrize(
    "end",
    [
        chunk(reason=FinishReason.SUPERSEDED),
        chunk(reason=FinishReason.DEADLINE),
        ServingError(Reason.DEADLINE_EXCEEDED, "No time."),
        ServingError(Reason.UNAVAILABLE, "Lost."),
    ],
    ids=["superseded", "late", "refused", "lost"],
)
async def test_who_read_along_goes_on_alone_when_the_first_ends_early(end: GenerationChunk | ServingError) -> None:
    backend = Computations()
    flights = SingleFlight(backend)
    first, second = (asyncio.create_task(ids(flights, replace(REQUEST, request_id=name))) for name in "ab")
    backend.give("a", chunk(1, 2), chunk(3), end)
    backend.give("b", chunk(1), chunk(2, 3, 4), chunk(5, reason=FinishReason.LENGTH))
    assert await second == ([1, 2, 3, 4, 5], FinishReason.LENGTH)
    if isinstance(end, GenerationChunk):
        assert await first == ([1, 2, 3], end.finish_reason)
    else:
        with pytest.raises(ServingError) as error:
            await first
        assert error.value is end
