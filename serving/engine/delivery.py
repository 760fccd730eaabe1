"""Delivery: chunks on their way to the receivers of requests."""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from serving.engine.intake import Intake
from serving.engine.request import GenerationChunk
from serving.engine.sequence import Sequence
from serving.engine.timeline import Timeline

_log = logging.getLogger(__name__)


class Delivery:
    """Calls each request's `on_chunk`, and completes its timeline with the last one.

    A receiver that raises an error has its request aborted, and disturbs no other.
    """

    def __init__(self, intake: Intake, clock: Callable[[], float], on_traced: Callable[[Timeline], None]) -> None:
        """Before the first chunk.

        Args:
          intake: has the requests in flight.
          clock: seconds, of timelines.
          on_traced: called with the timeline of each request that has one, when it ends.
        """
        self._intake = intake
        self._clock = clock
        self._on_traced = on_traced

    def send(self, sequence: Sequence, chunk: GenerationChunk) -> None:
        """Sends a chunk; the first says how many tokens of the prompt were cached."""
        if not sequence.given and sequence.cached_tokens:
            chunk = replace(chunk, cached_tokens=sequence.cached_tokens)
        sequence.given += len(chunk.tokens)
        try:
            sequence.on_chunk(chunk)
        except Exception:
            _log.exception("the receiver of request %s failed; the request is aborted", sequence.request.request_id)
            if chunk.finish_reason is None:
                self._intake.abort(sequence.request.request_id)

    def send_last(self, sequence: Sequence, last: GenerationChunk) -> None:
        """Sends the chunk with the finish reason; the request is no longer in flight then."""
        assert last.finish_reason is not None
        self._intake.forget(sequence, last.finish_reason)
        self.send(sequence, last)
        if sequence.timeline is not None:
            sequence.timeline.ended = self._clock()
            sequence.timeline.finish_reason = last.finish_reason
            sequence.timeline.cached_tokens = sequence.cached_tokens or 0
            self._on_traced(sequence.timeline)
