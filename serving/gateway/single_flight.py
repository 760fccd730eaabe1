"""SingleFlight: requests for the same tokens share one computation."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import ServingError
from serving.gateway.backend import Handle, ModelBackend, Sink
from serving.gateway.status import BackendStatus
from serving.models.adapter_directory import AdapterDirectory
from sharding.step import Token

type _Key = tuple[GenerationRequest, str]
"""What two requests for the same tokens have in common, and the stamp of their adapter: one that changes is another."""

_COMPLETE = frozenset({FinishReason.STOP, FinishReason.LENGTH})
_MOST_AT_ONCE = 512
"""Tokens that a later reader gets at once: 30 ms on the event loop, if each has 20 alternatives."""


class SingleFlight:
    """A `ModelBackend` that computes identical concurrent requests once.

    Some editors send every request three times. The first of them computes, the others get what it was given so far
    and read along, unless that is much, and the computation goes on while anybody reads. When it ends without being
    complete, for whatever reason of the first request (its deadline, its session) or of its group, each of the others
    goes on with one of its own.
    """

    def __init__(self, backend: ModelBackend, adapters: AdapterDirectory | None = None) -> None:
        """Joins what one model is asked for.

        Args:
          backend: computes.
          adapters: those that the model has; None: none.
        """
        self._backend = backend
        self._adapters = adapters
        self._flights: dict[_Key, _Flight] = {}

    async def ready(self) -> bool:
        """Whether some group answers now."""
        return await self._backend.ready()

    def status(self) -> BackendStatus:
        """As `ModelBackend.status`."""
        return self._backend.status()

    def submit(self, request: GenerationRequest, sink: Sink) -> Handle:
        """Has one sequence generated, alone or with others; aborting it ends it for this sink alone."""
        key = self._key(request)
        flight = self._flights.get(key)
        if flight is not None and flight.is_open:
            return flight.join(request, sink)
        started = self._flights[key] = _Flight(self._backend, lambda: self._forget(key, started))
        return started.start(request, sink)

    def _forget(self, key: _Key, flight: "_Flight") -> None:
        if self._flights.get(key) is flight:  # and not one that began when nobody could join it any more
            del self._flights[key]

    def _key(self, request: GenerationRequest) -> _Key:
        sampling = request.sampling
        if sampling.temperature == 0:  # greedy: what follows the logits does not decide
            sampling = replace(sampling, top_k=0, top_p=1.0, min_p=0.0, seed=0)
        beside = {
            "request_id": "",
            "timeout_s": None,
            "sent_at": None,
            "session_id": "",
            "repeated": False,
            "trace": "",
        }
        adapter = "" if self._adapters is None else self._adapters.stamp(request.adapter)
        return replace(request, sampling=sampling, **beside), adapter


class _Flight:
    """One computation: a sink with any number of readers behind it."""

    def __init__(self, backend: ModelBackend, on_end: Callable[[], object]) -> None:
        """`on_end` is called once it can no longer be joined, before the readers learn of the end."""
        self._backend = backend
        self._on_end = on_end
        self._ended = False
        self._readers: list[_Reader] = []  # the first is the owner of the request, unless it has left
        self._tokens: list[Token] = []  # given so far
        self._cached_tokens = 0
        self._handle: Handle | None = None

    @property
    def is_open(self) -> bool:
        """Whether one more reader could be given at once what was given so far."""
        return len(self._tokens) <= _MOST_AT_ONCE

    def start(self, request: GenerationRequest, sink: Sink) -> Handle:
        """Begins with the request of the first reader."""
        reader = _Reader(self, sink, request)
        self._first = reader
        self._readers.append(reader)
        self._handle = self._backend.submit(request, self)
        if not self._readers:  # it left before there was a handle
            self._handle.abort()
        return reader

    def join(self, request: GenerationRequest, sink: Sink) -> Handle:
        """Adds a reader, which gets at once what has come so far."""
        reader = _Reader(self, sink, request)
        self._readers.append(reader)
        if self._tokens:
            reader.read(GenerationChunk(tokens=tuple(self._tokens), cached_tokens=self._cached_tokens))
        return reader

    def leave(self, reader: "_Reader") -> None:
        """One reader less; without the last one the computation ends."""
        self._readers.remove(reader)
        if not self._readers:
            self._end()
            if self._handle is not None:
                self._handle.abort()

    def feed(self, chunk: GenerationChunk) -> None:
        if chunk.finish_reason is not None:
            self._end()
            if chunk.finish_reason not in _COMPLETE:
                self._part(lambda first: first.read(chunk))
                return
        self._tokens += chunk.tokens
        self._cached_tokens += chunk.cached_tokens
        for reader in self._present():
            reader.read(chunk)

    def fail(self, error: ServingError) -> None:
        self._end()
        self._part(lambda first: first.fail(error))

    def _part(self, end: Callable[["_Reader"], None]) -> None:
        """An end that is the first request's own: the other readers go on alone."""
        for reader in self._present():
            if reader is self._first:
                end(reader)
            else:
                reader.go_on_alone(self._backend)

    def _present(self) -> Iterator["_Reader"]:
        """The readers; without those that leave while another one reads."""
        return (reader for reader in tuple(self._readers) if reader in self._readers)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()


class _Reader:
    """A sink behind a flight, and the handle of its reader. Alone, it is the sink of its own computation."""

    def __init__(self, flight: _Flight, sink: Sink, request: GenerationRequest) -> None:
        self._flight: _Flight | None = flight
        self._sink = sink
        self._request = request
        self._known = 0  # tokens that it already has, which its own computation repeats
        self._own: Handle | None = None
        self._aborted = False

    def read(self, chunk: GenerationChunk) -> None:
        """Gets what the flight was given."""
        self._known += len(chunk.tokens)
        self._sink.feed(chunk)

    def go_on_alone(self, backend: ModelBackend) -> None:
        """Has the rest computed for itself."""
        self._flight = None
        self._own = backend.submit(self._request, self)
        if self._aborted:
            self._own.abort()

    def feed(self, chunk: GenerationChunk) -> None:
        skipped = min(self._known, len(chunk.tokens))
        self._known -= skipped
        if skipped < len(chunk.tokens) or chunk.finish_reason is not None:
            self._sink.feed(replace(chunk, tokens=chunk.tokens[skipped:]))

    def fail(self, error: ServingError) -> None:
        self._sink.fail(error)

    def abort(self) -> None:
        if self._flight is not None and not self._aborted:
            self._flight.leave(self)
        elif self._own is not None:
            self._own.abort()
        self._aborted = True
