"""ModelBackend: the replica groups of one model, tokens in, tokens out, pushed as they come."""

from typing import Protocol

from serving.engine.request import GenerationChunk, GenerationRequest
from serving.errors import ServingError
from serving.gateway.status import BackendStatus


class Sink(Protocol):
    """Receives the output of a generation, in the event loop and in order.

    The last call is a chunk with a finish reason or `fail`; after `Handle.abort` there is none. Neither method raises,
    and either may abort this generation or another one before it returns.
    """

    def feed(self, chunk: GenerationChunk) -> None:
        """Takes the next tokens."""
        ...

    def fail(self, error: ServingError) -> None:
        """Learns that and why there is no more to come."""
        ...


class Handle(Protocol):
    """A generation that was submitted."""

    def abort(self) -> None:
        """Ends it wherever it is, and frees what it holds; of no effect once it has ended."""
        ...


class ModelBackend(Protocol):
    """Generates with one model."""

    def submit(self, request: GenerationRequest, sink: Sink) -> Handle:
        """Has one sequence generated into `sink`, which may get something before this returns.

        The sink fails with a `ServingError` if the request is refused or the group that served it is lost.
        """
        ...

    async def ready(self) -> bool:
        """Whether some group answers now."""
        ...

    def status(self) -> BackendStatus:
        """How it stands with its groups."""
        ...
