"""SingleFlight: requests for the same tokens share one computation."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from msgspec.structs import replace

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.gateway.choice import ModelBackend
from sharding.step import SamplingParams

_COMPLETE = frozenset({FinishReason.STOP, FinishReason.LENGTH})


class SingleFlight:
    """A `ModelBackend` that computes what is asked for several times at once a single time.

    Some editors send every request three times. The first of them computes, the others read along from the beginning,
    and the computation goes on while anybody reads. When it ends without being complete, for whatever reason of the
    first request (its deadline, its session) or of its group, each of the others goes on with one of its own.
    """

    def __init__(self, backend: ModelBackend) -> None:
        self._backend = backend
        self._flights: dict[GenerationRequest, _Flight] = {}

    async def ready(self) -> bool:
        """Whether some group answers now."""
        return await self._backend.ready()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        """Generates one sequence, alone or with others; closing the generator aborts it for this caller.

        Raises:
          ServingError: as the backend of this `SingleFlight` does.
        """
        key = _key(request)
        shared = self._flights.get(key)
        if shared is None:
            flight = self._flights[key] = _Flight(self._backend.generate(request), lambda: self._flights.pop(key))
            async with aclosing(flight.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        known = 0
        with suppress(Exception):  # it was another's; what this request would fail with is seen below
            async with aclosing(shared.chunks()) as chunks:
                async for chunk in chunks:
                    if chunk.finish_reason is not None and chunk.finish_reason not in _COMPLETE:
                        break
                    known += len(chunk.tokens)
                    yield chunk
                    if chunk.finish_reason is not None:
                        return
        async with aclosing(self._backend.generate(request)) as chunks:  # the same tokens: skip those known already
            async for chunk in chunks:
                skipped = min(known, len(chunk.tokens))
                known -= skipped
                if skipped < len(chunk.tokens) or chunk.finish_reason is not None:
                    yield replace(chunk, tokens=chunk.tokens[skipped:])


def _key(request: GenerationRequest) -> GenerationRequest:
    """What two requests for the same tokens have in common."""
    sampling = request.sampling
    if sampling.temperature == 0:  # greedy: nothing else decides
        sampling = SamplingParams(logprobs=sampling.logprobs)
    beside = {"request_id": "", "timeout_s": None, "sent_at": None, "session_id": "", "repeated": False, "trace": ""}
    return replace(request, sampling=sampling, **beside)


class _Flight:
    """One computation and all that it gave so far, for any number of readers."""

    def __init__(self, generation: AsyncGenerator[GenerationChunk, None], on_end: Callable[[], object]) -> None:
        self._given: list[GenerationChunk] = []
        self._changed = asyncio.Event()
        self._readers = 0
        self._task = asyncio.create_task(self._run(generation))
        self._task.add_done_callback(lambda _: on_end())
        self._task.add_done_callback(lambda _: self._notify())

    async def chunks(self) -> AsyncGenerator[GenerationChunk, None]:
        """Every chunk, from the first; raises what the computation raised."""
        self._readers += 1
        position = 0
        try:
            while True:
                changed = self._changed
                while position < len(self._given):
                    position += 1
                    yield self._given[position - 1]
                if self._task.done() and position == len(self._given):
                    self._task.result()
                    return
                await changed.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, generation: AsyncGenerator[GenerationChunk, None]) -> None:
        async with aclosing(generation):
            async for chunk in generation:
                self._given.append(chunk)
                self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
