"""Admission: which requests can run at all, and the sequences that they become."""

from collections.abc import Callable
from itertools import count

from serving.engine.adapters import AdapterSlots
from serving.engine.errors import PromptTooLong
from serving.engine.request import GenerationRequest
from serving.engine.sequence import OnChunk, Sequence
from serving.engine.timeline import Timeline


class Admission:
    """Checks what depends on the request and the model alone, not on other requests. Any thread may call it."""

    def __init__(
        self,
        *,
        max_length: int,
        adapters: AdapterSlots,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """Before the first request.

        Args:
          max_length: most tokens of a sequence, prompt and generation together.
          adapters: of the model.
          clock: seconds, for deadlines.
          wall_clock: Unix time, the clock of `GenerationRequest.sent_at`.
        """
        self._max_length = max_length
        self._adapters = adapters
        self._clock = clock
        self._wall_clock = wall_clock
        self._arrivals = count()

    def sequence(self, request: GenerationRequest, on_chunk: OnChunk) -> Sequence:
        """The sequence of a request, the next one to arrive.

        Raises:
          ValueError, AdapterNotFound, AdapterUnusable, PromptTooLong: as `Engine.submit` says.
        """
        if request.max_tokens < 1:
            raise ValueError(f"max_tokens is {request.max_tokens}; ask for at least 1")
        length = len(request.prompt_ids)
        if not length:
            raise ValueError("prompt_ids has 0 tokens; send at least BOS")
        if length >= self._max_length:
            raise PromptTooLong(
                f"prompt_ids has {length} tokens and max_tokens is {request.max_tokens}, but a sequence holds at most "
                f"{self._max_length} tokens, prompt and generation together; send 1 to {self._max_length - 1} tokens"
            )
        if request.adapter:
            self._adapters.check(request.adapter)
        now = self._wall_clock()
        sent_at = now if request.sent_at is None else request.sent_at
        on_the_way_s = max(0.0, now - sent_at)  # two machines' clocks may disagree
        return Sequence(
            request=request,
            on_chunk=on_chunk,
            max_length=min(length + request.max_tokens, self._max_length),
            arrival=next(self._arrivals),
            sent_at=sent_at,
            deadline=None if request.timeout_s is None else self._clock() + request.timeout_s - on_the_way_s,
            timeline=Timeline(trace=request.trace, submitted=self._clock()) if request.trace else None,
        )
