"""A sink that keeps what it is given."""

import asyncio

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import ServingError
from serving.gateway.backend import ModelBackend


class Collected:
    """Implements `Sink`.

    Attributes:
      chunks: all that came.
      error: what the generation failed with.
      begun: set once something came.
      ended: set once nothing more comes.
    """

    def __init__(self) -> None:
        self.chunks: list[GenerationChunk] = []
        self.error: ServingError | None = None
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def feed(self, chunk: GenerationChunk) -> None:
        assert not self.ended.is_set()
        self.chunks.append(chunk)
        self.begun.set()
        if chunk.finish_reason is not None:
            self.ended.set()

    def fail(self, error: ServingError) -> None:
        assert not self.ended.is_set()
        self.error = error
        self.ended.set()

    @property
    def ids(self) -> list[int]:
        return [token.id for chunk in self.chunks for token in chunk.tokens]

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.chunks[-1].finish_reason if self.chunks else None

    async def end(self) -> None:
        """Waits for the end; raises what the generation failed with."""
        await self.ended.wait()
        if self.error is not None:
            raise self.error


async def collected(backend: ModelBackend, request: GenerationRequest) -> Collected:
    """A whole generation; to cancel this aborts it.

    Raises:
      ServingError: what it failed with.
    """
    sink = Collected()
    handle = backend.submit(request, sink)
    try:
        await sink.end()
    finally:
        handle.abort()
    return sink
