"""Engine: requests in, chunks of tokens out, one step of the model at a time.

The model never waits for the engine: while a step runs, the next one is planned and launched behind it, before the
tokens of the first are known. When all rows decode and no other request waits, a step is a loop of several on the
device.
"""

import logging
import threading
import time
from collections.abc import Callable
from itertools import takewhile

from serving.engine.adapters import AdapterSlots, AdapterSource, NoAdapters
from serving.engine.admission import Admission
from serving.engine.delivery import Delivery
from serving.engine.errors import (
    AdapterNotFound,
    AdapterUnusable,
    DeadlineUnreachable,
    EngineUnavailable,
    PromptTooLong,
    QueueFull,
)
from serving.engine.intake import Intake
from serving.engine.pace import Pace
from serving.engine.pipeline import DEPTH, Pipeline
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from serving.engine.runner import Runner
from serving.engine.scheduler import Scheduler
from serving.engine.sequence import OnChunk, Sequence, SequenceState
from serving.engine.stats import EngineStats
from serving.engine.timeline import Timeline, TracedStep
from sharding.step import Row, Token

__all__ = [
    "AdapterNotFound",
    "AdapterUnusable",
    "DeadlineUnreachable",
    "Engine",
    "EngineUnavailable",
    "PromptTooLong",
    "QueueFull",
]

_log = logging.getLogger(__name__)

LOOP_S = 0.02
"""Most seconds of a loop: new requests wait for its end, and the Gateway does not send more often anyway."""
LOADING_S = 0.005
"""How often an idle engine checks whether an adapter has been read."""
LEAD_S = 0.003
"""How long before the expected end of the running step the next one is launched: enough to plan it and to send it to
the device. Requests that arrive until then are part of it."""


class Engine:
    """Generates for many requests at once.

    All but `step` may be called from any thread, and `step` from one. `on_chunk` is called in that thread, except for
    the last chunks that `fail` sends. Each request gets exactly one chunk with a finish reason, its last.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_queue: int,
        adapters: AdapterSource | None = None,
        loop_s: float = LOOP_S,
        lead_s: float = LEAD_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_traced: Callable[[Timeline], None] = lambda timeline: None,
    ) -> None:
        """Starts with nothing in flight.

        Args:
          runner: executes the steps.
          max_queue: requests taken beyond those that fit into one step.
          adapters: where those of the model come from; None: it has none.
          loop_s: see `LOOP_S`; 0: no loops.
          lead_s: see `LEAD_S`; infinite: the next step is launched as soon as there is one that runs.
          clock: seconds, for deadlines and durations.
          wall_clock: Unix time, the clock of `GenerationRequest.sent_at`.
          on_traced: called with what was done for each request that has a `trace`, when it ends; returns at once.
        """
        limits = runner.limits
        self._loop_s = loop_s
        self._lead_s = lead_s
        self._clock = clock
        self._pace = Pace()
        # Held while a sequence changes or a chunk is sent, not while the runner works: `fail` never waits for that.
        self._boundary = threading.Lock()
        self._adapters = AdapterSlots(limits.adapters, adapters or NoAdapters())
        self._scheduler = Scheduler(limits, self._adapters)
        self._pipeline = Pipeline(runner, self._pace, clock)
        self._steps = 0
        self._generated_tokens = 0
        self._intake = Intake(
            max_live=self._scheduler.max_rows + max_queue,
            max_step_tokens=limits.max_step_tokens,
            pace=self._pace,
            clock=clock,
        )
        self._admission = Admission(
            max_length=min(limits.max_context, limits.num_pages * limits.page_size),
            adapters=self._adapters,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._delivery = Delivery(self._intake, clock, on_traced)

    @property
    def failure(self) -> Exception | None:
        """What took the engine out of service; None while it is healthy."""
        return self._intake.failure

    @property
    def in_flight(self) -> int:
        """Requests that were submitted and have not ended."""
        return len(self._intake)

    @property
    def loaded_adapters(self) -> list[str]:
        """Adapters that requests find in memory."""
        return self._adapters.loaded

    def submit(self, request: GenerationRequest, on_chunk: OnChunk) -> None:
        """Queues a request. A `max_tokens` beyond the context is no error: generation ends there with LENGTH.

        The newest keystroke wins: of the URGENT requests of one `session_id`, those sent before another end with
        SUPERSEDED at the next step boundary, whatever the order in which they come here.

        Args:
          request: what to generate.
          on_chunk: called for each chunk, in order; it must return at once. When it raises, its request is aborted.

        Raises:
          ValueError: the request can never run: `request_id` is in flight, `max_tokens` is not positive, the prompt
            is empty.
          AdapterNotFound: there is no adapter of this name.
          AdapterUnusable: it could not be loaded and has not changed since.
          PromptTooLong: it leaves no room for a token.
          QueueFull: all rows and all places in the queue are taken; try again later.
          DeadlineUnreachable: its deadline has passed, or will before the prompts ahead of it are computed.
          EngineUnavailable: the engine failed or is stopping; try another replica.
        """
        self._intake.add(self._admission.sequence(request, on_chunk))

    def abort(self, request_id: str) -> None:
        """Ends a request at the next step boundary; without effect when it is not, or no longer, in flight."""
        self._intake.abort(request_id)

    def abort_all(self) -> None:
        """Ends every request at the next step boundary."""
        self._intake.abort_all()

    def close(self) -> None:
        """Refuses requests from now on; those in flight go on."""
        self._intake.close()

    def fail(self, error: Exception) -> None:
        """Takes the engine out of service and ends every request in flight with ERROR, at once.

        Also while a step is stuck in the runner: the chunks are sent from the calling thread, and what the step
        returns is discarded. Not to be called by an `on_chunk`. Only the first error becomes `failure`.
        """
        with self._boundary:
            sequences = self._intake.fail(error)
            self._scheduler.reset()
            for sequence in sequences:
                sequence.state = SequenceState.FINISHED
                self._delivery.send_last(
                    sequence,
                    GenerationChunk(
                        finish_reason=FinishReason.ERROR, error="the model failed during this request; try it again"
                    ),
                )

    def wait_for_work(self) -> bool:
        """Blocks until a request is in flight; False once the engine is closed and none is."""
        return self._intake.wait()

    def step(self) -> bool:
        """Lands one step, with another one launched behind it; returns whether there was anything to do.

        After an exception inside a step, from the runner or not, the KV cache cannot be trusted: every request in
        flight ends with ERROR and the engine is out of service.
        """
        if not self.in_flight:
            return False
        try:
            while len(self._pipeline) < DEPTH and self._launch():
                pass
            if self._pipeline:
                self._land()
            elif self._adapters.loading:  # and there is nothing else to do
                self._intake.wait_for_arrival(LOADING_S)
            while self._pipeline and not self.in_flight:  # its requests have ended
                self._land()
        except Exception as error:
            _log.exception("a step failed; the engine is out of service")
            self.fail(error)
        return True

    def step_running_s(self) -> float:
        """Seconds that the engine has waited for the runner; 0 when it does not."""
        return self._pipeline.waiting_s()

    def take_step_seconds(self) -> list[float]:
        """The seconds of each step since the last call."""
        return self._pace.take()

    def stats(self) -> EngineStats:
        """Where the engine stands."""
        scheduler, finished = self._scheduler, self._intake.finished
        live = self._intake.live()
        queued = [sequence for sequence in live if sequence.state is SequenceState.WAITING]
        urgent = sum(sequence.priority is Priority.URGENT for sequence in queued)
        return EngineStats(
            queued=len(queued),
            queued_urgent=urgent,
            queued_normal=len(queued) - urgent,
            queued_tokens=sum(sequence.prompt_left for sequence in queued),
            running=len(live) - len(queued),
            free_pages=scheduler.pages.pool.free_pages,
            total_pages=scheduler.pages.pool.total,
            steps=self._steps,
            generated_tokens=self._generated_tokens,
            prompt_tokens=scheduler.prompt_tokens,
            cached_tokens=scheduler.cached_tokens,
            preemptions=scheduler.preemptions,
            adapter_loads=self._adapters.loads,
            adapter_failures=self._adapters.failures,
            aborted=finished[FinishReason.ABORTED],
            superseded=finished[FinishReason.SUPERSEDED],
            deadline_drops=finished[FinishReason.DEADLINE],
            refused_for_deadline=self._intake.refused_for_deadline,
            step_seconds=self._pace.step_s or 0.0,
        )

    def _apply_intake(self) -> None:
        submitted, ending = self._intake.take()
        for sequence in submitted:
            self._scheduler.add(sequence)
        for sequence, reason in ending.items():
            self._finish(sequence, GenerationChunk(finish_reason=reason))

    def _drop_expired(self) -> None:
        now = self._clock()
        for sequence in list(self._scheduler):
            if sequence.deadline is not None and sequence.deadline <= now:
                self._finish(sequence, GenerationChunk(finish_reason=FinishReason.DEADLINE))

    def _drop_without_adapter(self) -> None:
        """Ends what waits for an adapter that cannot be loaded, or that there is no more."""
        for sequence in [sequence for sequence in self._scheduler if sequence.waits_for_adapter]:
            if fault := self._adapters.fault(sequence.request.adapter, sequence.adapter):
                is_gone = isinstance(fault, AdapterNotFound)
                reason = FinishReason.ADAPTER_NOT_FOUND if is_gone else FinishReason.ADAPTER_FAILED
                self._finish(sequence, GenerationChunk(finish_reason=reason, error=str(fault)))

    def _launch(self) -> bool:
        """Launches a step behind the one that runs, if one runs; returns whether there was anything to launch."""
        if self._pipeline:
            self._intake.wait_for_arrival(self._pipeline.expected_end() - self._lead_s - self._clock())
        self._adapters.land()
        with self._boundary:
            if self.failure is not None:
                return False
            self._apply_intake()
            self._drop_expired()
            self._drop_without_adapter()
            max_draws = self._pipeline.max_draws(len(self._scheduler.running), self._loop_s)
            plan = self._scheduler.schedule(max_draws)
        if plan.rows:
            self._pipeline.launch(plan)
        return bool(plan.rows)

    def _land(self) -> None:
        """Waits for the oldest step, and sends what it drew."""
        step = self._pipeline.land()
        with self._boundary:
            if self.failure is not None:
                return
            self._steps += step.rounds
            for sequence, row, tokens in zip(step.plan.sequences, step.plan.rows, step.tokens, strict=True):
                sequence.in_flight -= 1
                sequence.drawing -= row.draws
                if sequence.state is SequenceState.FINISHED:
                    continue  # it ended before this step, which was already launched
                if sequence.timeline is not None:
                    traced = TracedStep(step.started, step.ended, row.end - row.start, sampled=row.draws > 0)
                    sequence.timeline.steps.append(traced)
                self._advance(sequence, row, tokens)

    def _advance(self, sequence: Sequence, row: Row, tokens: list[Token]) -> None:
        """Takes over a row's targets and what it drew."""
        stop_ids = sequence.request.stop_ids
        scored = len(row.targets)
        token_ids = [token.id for token in tokens[scored:]]
        if not stop_ids.isdisjoint(token_ids):
            token_ids = list(takewhile(lambda token_id: token_id not in stop_ids, token_ids))
        kept = tuple(tokens[: scored + len(token_ids)])
        self._scheduler.land(sequence, row, token_ids)
        self._generated_tokens += len(token_ids)
        if len(kept) < len(tokens):
            end = None if sequence.request.sampling.logprobs is None else tokens[len(kept)]
            self._finish(sequence, GenerationChunk(tokens=kept, finish_reason=FinishReason.STOP, end=end))
        elif len(sequence.token_ids) >= sequence.max_length:
            self._finish(sequence, GenerationChunk(tokens=kept, finish_reason=FinishReason.LENGTH))
        elif kept:
            self._delivery.send(sequence, GenerationChunk(tokens=kept))

    def _finish(self, sequence: Sequence, last: GenerationChunk) -> None:
        self._scheduler.remove(sequence)
        self._delivery.send_last(sequence, last)
