"""Engine: requests in, chunks of tokens out, one step of the model at a time."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from serving.engine.errors import DeadlineUnreachable, EngineUnavailable, QueueFull
from serving.engine.intake import Intake
from serving.engine.pace import Pace
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority, Token
from serving.engine.runner import Runner
from serving.engine.scheduler import Scheduler, StepPlan
from serving.engine.sequence import OnChunk, Sequence, SequenceState
from serving.engine.timeline import Timeline, TracedStep

__all__ = ["DeadlineUnreachable", "Engine", "EngineStats", "EngineUnavailable", "QueueFull"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Where the engine stands, and totals since it started.

    Attributes:
      queued: requests that wait to start, newly submitted and preempted ones included.
      queued_urgent, queued_normal: the same by class.
      queued_tokens: tokens in the prompts of those.
      running: requests with pages, of which those with a row make progress in the step.
      free_pages: pages that no running request uses; the prefix cache keeps contents in some of them.
      prompt_tokens, cached_tokens: of the requests that were started, and how many the prefix cache held.
      superseded: requests that ended because a newer one of their session came.
      deadline_drops: requests, queued or running, that reached their deadline.
      refused_for_deadline: requests that were refused because they could not meet it.
      step_seconds: mean time of recent steps in the model; 0 before the first few.
    """

    queued: int
    queued_urgent: int
    queued_normal: int
    queued_tokens: int
    running: int
    free_pages: int
    total_pages: int
    steps: int
    generated_tokens: int
    prompt_tokens: int
    cached_tokens: int
    preemptions: int
    aborted: int
    superseded: int
    deadline_drops: int
    refused_for_deadline: int
    step_seconds: float


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
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_traced: Callable[[Timeline], None] = lambda timeline: None,
    ) -> None:
        """Starts with nothing in flight.

        Args:
          runner: executes the steps.
          max_queue: requests taken beyond those that fit into one step.
          clock: seconds, for deadlines and durations.
          wall_clock: Unix time, the clock of `GenerationRequest.sent_at`.
          on_traced: called with what was done for each request that has a `trace`, when it ends; returns at once.
        """
        limits = runner.limits
        self._runner = runner
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_traced = on_traced
        self._max_length = min(limits.max_context, limits.num_pages * limits.page_size)
        self._arrivals = count()
        self._pace = Pace()
        # Held to change a sequence or send a chunk; not while the runner works, so that `fail` never waits for that.
        self._boundary = threading.Lock()
        self._scheduler = Scheduler(limits)
        self._in_runner_since: float | None = None
        self._steps = 0
        self._generated_tokens = 0
        self._intake = Intake(
            max_live=self._scheduler.max_rows + max_queue,
            max_step_tokens=limits.max_step_tokens,
            pace=self._pace,
            clock=clock,
        )

    @property
    def failure(self) -> Exception | None:
        """What took the engine out of service; None while it is healthy."""
        return self._intake.failure

    @property
    def in_flight(self) -> int:
        """Requests that were submitted and have not ended."""
        return len(self._intake)

    def submit(self, request: GenerationRequest, on_chunk: OnChunk) -> None:
        """Queues a request. A `max_tokens` beyond the context is no error: generation ends there with LENGTH.

        The newest keystroke wins: of the URGENT requests of one `session_id`, those sent before another end with
        SUPERSEDED at the next step boundary, whatever the order in which they come here.

        Args:
          request: what to generate.
          on_chunk: called for each chunk, in order; it must return at once. When it raises, its request is aborted.

        Raises:
          ValueError: the request can never run: `request_id` is in flight, `max_tokens` is not positive, the prompt
            is empty or leaves no room for a token.
          QueueFull: all rows and all places in the queue are taken; try again later.
          DeadlineUnreachable: its deadline has passed, or will before the prompts ahead of it are computed.
          EngineUnavailable: the engine failed or is stopping; try another replica.
        """
        if request.max_tokens < 1:
            raise ValueError(f"max_tokens is {request.max_tokens}; ask for at least 1")
        length = len(request.prompt_ids)
        if not 0 < length < self._max_length:
            raise ValueError(
                f"prompt_ids has {length} tokens and max_tokens is {request.max_tokens}, but a sequence holds at most "
                f"{self._max_length} tokens, prompt and generation together; send 1 to {self._max_length - 1} tokens"
            )
        now = self._wall_clock()
        sent_at = now if request.sent_at is None else request.sent_at
        on_the_way_s = max(0.0, now - sent_at)  # two machines' clocks may disagree
        sequence = Sequence(
            request=request,
            on_chunk=on_chunk,
            max_length=min(length + request.max_tokens, self._max_length),
            arrival=next(self._arrivals),
            sent_at=sent_at,
            deadline=None if request.timeout_s is None else self._clock() + request.timeout_s - on_the_way_s,
            timeline=Timeline(trace=request.trace, submitted=self._clock()) if request.trace else None,
        )
        self._intake.add(sequence)

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
                self._send_last(
                    sequence, FinishReason.ERROR, error="the model failed during this request; try it again"
                )

    def wait_for_work(self) -> bool:
        """Blocks until a request is in flight; False once the engine is closed and none is."""
        return self._intake.wait()

    def step(self) -> bool:
        """Runs one step; returns whether there was anything to do.

        An exception inside a step, from the runner or not, leaves the KV cache in doubt: every request in flight ends
        with ERROR and the engine is out of service.
        """
        if not self.in_flight:
            return False
        try:
            with self._boundary:
                self._apply_intake()
                self._drop_expired()
                plan = self._scheduler.schedule()
            if plan.rows:
                tokens = self._run(plan)
                with self._boundary:
                    if self.failure is None:
                        self._postprocess(plan, tokens)
        except Exception as error:
            _log.exception("a step failed; the engine is out of service")
            self.fail(error)
        return True

    def step_running_s(self) -> float:
        """Seconds that the step in progress has been in the runner; 0 when none is."""
        since = self._in_runner_since
        return 0.0 if since is None else self._clock() - since

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
            free_pages=scheduler.pool.free_pages,
            total_pages=scheduler.pool.total,
            steps=self._steps,
            generated_tokens=self._generated_tokens,
            prompt_tokens=scheduler.prompt_tokens,
            cached_tokens=scheduler.cached_tokens,
            preemptions=scheduler.preemptions,
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
            self._finish(sequence, reason)

    def _drop_expired(self) -> None:
        now = self._clock()
        for sequence in list(self._scheduler):
            if sequence.deadline is not None and sequence.deadline <= now:
                self._finish(sequence, FinishReason.DEADLINE)

    def _run(self, plan: StepPlan) -> list[Token | None]:
        started = self._in_runner_since = self._clock()
        try:
            tokens = self._runner.step(plan.rows)
        finally:
            self._in_runner_since = None
        ended = self._clock()
        self._pace.add(ended - started)
        if [token is None for token in tokens] != [row.sampling is None for row in plan.rows]:
            raise RuntimeError("the runner did not answer with a token for exactly the rows that have `sampling`")
        for sequence, row, token in zip(plan.sequences, plan.rows, tokens, strict=True):
            if sequence.timeline is not None:
                step = TracedStep(started, ended, len(row.token_ids), sampled=token is not None)
                sequence.timeline.steps.append(step)
        return tokens

    def _postprocess(self, plan: StepPlan, tokens: list[Token | None]) -> None:
        self._steps += 1
        self._scheduler.complete(plan)
        for sequence, token in zip(plan.sequences, tokens, strict=True):
            if token is None:
                continue
            if token.id in sequence.request.stop_ids:
                self._finish(sequence, FinishReason.STOP)
                continue
            sequence.token_ids.append(token.id)
            self._generated_tokens += 1
            if len(sequence.token_ids) >= sequence.max_length:
                self._finish(sequence, FinishReason.LENGTH, (token,))
            else:
                self._send(sequence, (token,))

    def _finish(self, sequence: Sequence, reason: FinishReason, tokens: tuple[Token, ...] = ()) -> None:
        self._scheduler.remove(sequence)
        self._send_last(sequence, reason, tokens)

    def _send_last(
        self, sequence: Sequence, reason: FinishReason, tokens: tuple[Token, ...] = (), error: str | None = None
    ) -> None:
        self._intake.forget(sequence, reason)
        self._send(sequence, tokens, reason, error)
        if sequence.timeline is not None:
            sequence.timeline.ended = self._clock()
            sequence.timeline.finish_reason = reason
            sequence.timeline.cached_tokens = sequence.cached_tokens or 0
            self._on_traced(sequence.timeline)

    def _send(
        self,
        sequence: Sequence,
        tokens: tuple[Token, ...],
        reason: FinishReason | None = None,
        error: str | None = None,
    ) -> None:
        first = sequence.generated == len(tokens)
        chunk = GenerationChunk(
            tokens=tokens,
            finish_reason=reason,
            cached_tokens=(sequence.cached_tokens or 0) if first else 0,
            error=error,
        )
        try:
            sequence.on_chunk(chunk)
        except Exception:
            _log.exception("the receiver of request %s failed; the request is aborted", sequence.request.request_id)
            if reason is None:
                self.abort(sequence.request.request_id)
