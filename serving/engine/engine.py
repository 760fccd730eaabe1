"""Engine: requests in, chunks of tokens out, one step of the model at a time."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Token
from serving.engine.runner import Runner
from serving.engine.scheduler import Scheduler, StepPlan
from serving.engine.sequence import OnChunk, Sequence, SequenceState

_log = logging.getLogger(__name__)


class QueueFull(Exception):  # noqa: N818 - like asyncio.QueueFull
    """All rows and all places in the queue are taken."""


class EngineUnavailable(Exception):  # noqa: N818 - a state of the replica, like QueueFull
    """The engine failed or is stopping; this replica takes no more requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Where the engine stands, and totals since it started.

    Attributes:
      queued: requests without a row, newly submitted and preempted ones included.
      running: requests with a row.
      free_pages: pages that no running request uses; the prefix cache keeps contents in some of them.
      prompt_tokens, cached_tokens: of the requests that were started, and how many the prefix cache held.
      deadline_drops: requests, queued or running, that reached their deadline.
    """

    queued: int
    running: int
    free_pages: int
    total_pages: int
    steps: int
    generated_tokens: int
    prompt_tokens: int
    cached_tokens: int
    preemptions: int
    aborted: int
    deadline_drops: int


class Engine:
    """Generates for many requests at once.

    `submit`, `abort`, `abort_all`, `close` and `stats` may be called from any thread. `step` belongs to one thread,
    and so do all calls of `on_chunk`. Each request gets exactly one chunk with a finish reason, its last.

    Attributes:
      failure: what ended a step; the engine is out of service from then on. None while it is healthy.
    """

    def __init__(self, runner: Runner, *, clock: Callable[[], float] = time.monotonic, max_queue: int) -> None:
        self.failure: Exception | None = None
        self._runner = runner
        self._clock = clock
        self._scheduler = Scheduler(runner.limits)
        self._max_live = self._scheduler.max_rows + max_queue
        limits = runner.limits
        self._max_length = min(limits.max_context, limits.num_pages * limits.page_size)
        self._steps = 0
        self._generated_tokens = 0
        self._finished: Counter[FinishReason] = Counter()
        # Guards what follows: all that threads other than the stepping one write.
        self._changed = threading.Condition()
        self._live: dict[str, Sequence] = {}
        self._submitted: list[Sequence] = []
        self._aborted: list[Sequence] = []
        self._closed = False

    def submit(self, request: GenerationRequest, on_chunk: OnChunk) -> None:
        """Queues a request. A `max_tokens` beyond the context is no error: generation ends there with LENGTH.

        Args:
          request: what to generate.
          on_chunk: called for each chunk in the thread that runs the steps; it must return at once. When it raises,
            its request is aborted.

        Raises:
          ValueError: the request can never run: `request_id` is in flight, `max_tokens` is not positive, the prompt
            is empty or leaves no room for a token.
          QueueFull: all rows and all places in the queue are taken; try again later.
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
        sequence = Sequence(
            request=request,
            on_chunk=on_chunk,
            max_length=min(length + request.max_tokens, self._max_length),
            deadline=None if request.timeout_s is None else self._clock() + request.timeout_s,
        )
        with self._changed:
            if self.failure is not None:
                raise EngineUnavailable("the engine failed and takes no more requests; try another replica")
            if self._closed:
                raise EngineUnavailable("the engine is stopping and takes no more requests; try another replica")
            if request.request_id in self._live:
                raise ValueError(f"request_id {request.request_id!r} is in flight; give each request its own")
            if len(self._live) >= self._max_live:
                raise QueueFull(f"all {self._max_live} places, running and queued, are taken; try again later")
            self._live[request.request_id] = sequence
            self._submitted.append(sequence)
            self._changed.notify_all()

    def abort(self, request_id: str) -> None:
        """Ends a request at the next step boundary; without effect when it is not, or no longer, in flight."""
        with self._changed:
            sequence = self._live.get(request_id)
            if sequence is not None:
                self._aborted.append(sequence)

    def abort_all(self) -> None:
        """Ends every request at the next step boundary."""
        with self._changed:
            self._aborted.extend(self._live.values())

    def close(self) -> None:
        """Refuses requests from now on; those in flight go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_for_work(self) -> bool:
        """Blocks until a request is in flight; False once the engine is closed and none is."""
        with self._changed:
            self._changed.wait_for(lambda: self._live or self._closed)
            return bool(self._live)

    def step(self) -> bool:
        """Runs one step; returns whether there was anything to do.

        An exception inside a step, from the runner or not, leaves the KV cache in doubt: every request in flight ends
        with ERROR and the engine is out of service.
        """
        if not self._live:
            return False
        try:
            self._apply_inbox()
            self._drop_expired()
            plan = self._scheduler.schedule()
            if plan.rows:
                self._postprocess(plan, self._run(plan))
        except Exception as error:
            _log.exception("a step failed; the engine is out of service")
            self._fail(error)
        return True

    def stats(self) -> EngineStats:
        """Where the engine stands."""
        scheduler = self._scheduler
        with self._changed:
            running = len(scheduler.running)
            return EngineStats(
                queued=len(self._live) - running,
                running=running,
                free_pages=scheduler.pool.free_pages,
                total_pages=scheduler.pool.total,
                steps=self._steps,
                generated_tokens=self._generated_tokens,
                prompt_tokens=scheduler.prompt_tokens,
                cached_tokens=scheduler.cached_tokens,
                preemptions=scheduler.preemptions,
                aborted=self._finished[FinishReason.ABORTED],
                deadline_drops=self._finished[FinishReason.DEADLINE],
            )

    def _apply_inbox(self) -> None:
        with self._changed:
            submitted, self._submitted = self._submitted, []
            aborted, self._aborted = self._aborted, []
        for sequence in submitted:
            self._scheduler.add(sequence)
        for sequence in aborted:
            if sequence.state is not SequenceState.FINISHED:
                self._finish(sequence, FinishReason.ABORTED)

    def _drop_expired(self) -> None:
        now = self._clock()
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            if sequence.deadline is not None and sequence.deadline <= now:
                self._finish(sequence, FinishReason.DEADLINE)

    def _run(self, plan: StepPlan) -> list[Token | None]:
        tokens = self._runner.step(plan.rows)
        if [token is None for token in tokens] != [row.sampling is None for row in plan.rows]:
            raise RuntimeError("the runner did not answer with a token for exactly the rows that have `sampling`")
        self._steps += 1
        return tokens

    def _postprocess(self, plan: StepPlan, tokens: list[Token | None]) -> None:
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

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self.failure = error
            sequences = list(self._live.values())
        self._scheduler.reset()
        for sequence in sequences:
            sequence.state = SequenceState.FINISHED
            self._send_last(sequence, FinishReason.ERROR, error="the model failed during this request; try it again")

    def _send_last(
        self, sequence: Sequence, reason: FinishReason, tokens: tuple[Token, ...] = (), error: str | None = None
    ) -> None:
        with self._changed:
            del self._live[sequence.request.request_id]
            self._finished[reason] += 1
        self._send(sequence, tokens, reason, error)

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
