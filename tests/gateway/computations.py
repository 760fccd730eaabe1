"""A backend whose generations a test plays by hand."""

from dataclasses import dataclass, field

from serving.engine.request import GenerationChunk, GenerationRequest
from serving.errors import ServingError
from serving.gateway.backend import Handle, Sink
from serving.gateway.status import BackendStatus


@dataclass
class Computation:
    """One generation, as its backend sees it."""

    request: GenerationRequest
    sink: Sink
    aborted: bool = False
    ended: bool = False
    given: int = 0

    def abort(self) -> None:
        self.aborted = True

    def give(self, *items: GenerationChunk | ServingError) -> None:
        for item in items:
            assert not self.aborted
            assert not self.ended
            self.ended = isinstance(item, ServingError) or item.finish_reason is not None
            if isinstance(item, ServingError):
                self.sink.fail(item)
            else:
                self.given += len(item.tokens)
                self.sink.feed(item)

    @property
    def running(self) -> bool:
        return not (self.aborted or self.ended)


@dataclass
class Computations:
    """A backend whose computations give what a test tells them to; `refusal` refuses those that follow at once."""

    all: list[Computation] = field(default_factory=list)
    refusal: ServingError | None = None

    def submit(self, request: GenerationRequest, sink: Sink) -> Handle:
        computation = Computation(request, sink)
        self.all.append(computation)
        if self.refusal:
            computation.give(self.refusal)
        return computation

    async def ready(self) -> bool:
        return True

    def status(self) -> BackendStatus:
        return BackendStatus()

    def __getitem__(self, request_id: str) -> Computation:
        [computation] = [each for each in self.all if each.request.request_id == request_id]
        return computation

    @property
    def ids(self) -> list[str]:
        return [computation.request.request_id for computation in self.all]
