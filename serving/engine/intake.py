"""Intake: the requests in flight, and the messages of other threads to the engine's thread."""

import threading
from collections import Counter
from collections.abc import Callable

from serving.engine.errors import DeadlineUnreachable, EngineUnavailable, QueueFull
from serving.engine.pace import Pace
from serving.engine.request import FinishReason, Priority
from serving.engine.sequence import Sequence, SequenceState


class Intake:
    """Accepts or refuses requests, and records which are to end. Every method may be called from any thread.

    Attributes:
      failure: why the engine is out of service; None while it is healthy.
      finished: how many requests ended for each reason.
      refused_for_deadline: how many were refused because they could not meet it.
    """

    def __init__(self, *, max_live: int, max_step_tokens: int, pace: Pace, clock: Callable[[], float]) -> None:
        self.failure: Exception | None = None
        self.finished: Counter[FinishReason] = Counter()
        self.refused_for_deadline = 0
        self._max_live = max_live
        self._max_step_tokens = max_step_tokens
        self._pace = pace
        self._clock = clock
        self._changed = threading.Condition()
        self._live: dict[str, Sequence] = {}
        self._submitted: list[Sequence] = []
        self._ending: dict[Sequence, FinishReason] = {}  # of the live ones; they end at the next step boundary
        self._closed = False

    def __len__(self) -> int:
        """How many requests are in flight."""
        return len(self._live)

    def add(self, sequence: Sequence) -> None:
        """Takes a request; the older ones of its session end, even if it is itself refused after that.

        Raises:
          ValueError, QueueFull, EngineUnavailable, DeadlineUnreachable: as `Engine.submit` says.
        """
        request_id = sequence.request.request_id
        with self._changed:
            if self.failure is not None:
                raise EngineUnavailable("the engine failed and takes no more requests; try another replica")
            if self._closed:
                raise EngineUnavailable("the engine is stopping and takes no more requests; try another replica")
            if request_id in self._live:
                raise ValueError(f"request_id {request_id!r} is in flight; give each request its own")
            outdated = self._supersede(sequence)
            if len(self._live) - len(self._ending) >= self._max_live:
                raise QueueFull(f"all {self._max_live} places, running and queued, are taken; try again later")
            if outdated:
                self._ending[sequence] = FinishReason.SUPERSEDED
            else:
                self._check_deadline(sequence)
            self._live[request_id] = sequence
            self._submitted.append(sequence)
            self._changed.notify_all()

    def abort(self, request_id: str) -> None:
        """Ends a request at the next step boundary, if it is in flight."""
        with self._changed:
            if request_id in self._live:
                self._ending.setdefault(self._live[request_id], FinishReason.ABORTED)

    def abort_all(self) -> None:
        """Ends every request at the next step boundary."""
        with self._changed:
            for sequence in self._live.values():
                self._ending.setdefault(sequence, FinishReason.ABORTED)

    def close(self) -> None:
        """Refuses requests from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, error: Exception) -> list[Sequence]:
        """Refuses requests from now on; returns those in flight. Only the first error is kept."""
        with self._changed:
            if self.failure is None:
                self.failure = error
            self._submitted.clear()
            self._ending.clear()
            self._changed.notify_all()
            return list(self._live.values())

    def wait(self) -> bool:
        """Blocks until a request is in flight; False once closed and none is."""
        with self._changed:
            self._changed.wait_for(lambda: self._live or self._closed)
            return bool(self._live)

    def wait_for_arrival(self, timeout_s: float) -> None:
        """Blocks until a request comes that was not taken yet, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._submitted or self.failure is not None, max(0.0, timeout_s))

    def take(self) -> tuple[list[Sequence], dict[Sequence, FinishReason]]:
        """What came since the last call: new sequences, and sequences to end, which may be among the new ones."""
        with self._changed:
            submitted, self._submitted = self._submitted, []
            return submitted, dict(self._ending)

    def forget(self, sequence: Sequence, reason: FinishReason) -> None:
        """Takes out a request that ended."""
        with self._changed:
            del self._live[sequence.request.request_id]
            self._ending.pop(sequence, None)
            self.finished[reason] += 1

    def live(self) -> list[Sequence]:
        """The requests in flight, in the order of their arrival."""
        with self._changed:
            return list(self._live.values())

    def _supersede(self, sequence: Sequence) -> bool:
        """Ends the older requests of the same session; returns whether a newer one makes this one outdated.

        Those with the same time are the choices of one request, and live together.
        """
        session_id = sequence.request.session_id
        if not session_id or sequence.priority is not Priority.URGENT:
            return False
        outdated = False
        for other in self._live.values():
            if other.request.session_id == session_id and other.priority is Priority.URGENT:
                if other.keystroke < sequence.keystroke:
                    self._ending.setdefault(other, FinishReason.SUPERSEDED)
                outdated = outdated or other.keystroke > sequence.keystroke
        return outdated

    def _check_deadline(self, sequence: Sequence) -> None:
        """Refuses a request that would be late even if every step were full of the prompts ahead of it alone.

        Never on an estimate alone: when no prompt is ahead, only a deadline that has passed is a reason.
        """
        if sequence.deadline is None:
            return
        left_s = sequence.deadline - self._clock()
        ahead = sum(
            other.prompt_left
            for other in self._live.values()
            if other not in self._ending and _goes_first(other, sequence)
        )
        estimate_s = 0.0
        if ahead and self._pace.step_s is not None:
            steps = -(-(ahead + sequence.prompt_left) // self._max_step_tokens)
            estimate_s = steps * self._pace.step_s
        if left_s <= 0 or estimate_s > left_s:
            self.refused_for_deadline += 1
            raise DeadlineUnreachable(
                f"the first token is expected in {estimate_s:.3g} s, but of timeout_s={sequence.request.timeout_s:g} "
                f"only {left_s:.3g} s are left; allow more time or try another replica"
            )


def _goes_first(other: Sequence, sequence: Sequence) -> bool:
    if other.priority is not sequence.priority:
        return other.priority < sequence.priority
    return other.state is SequenceState.RUNNING or other.rank < sequence.rank
