"""SimulatedGroup: one replica group of the simulator, between its events."""

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from serving.autoscaling.pace import Pace
from serving.autoscaling.report import ReplicaReport
from serving.autoscaling.traffic import Request

_LEAST_STEPS = 1e-3


class Answer(NamedTuple):
    """What became of a request.

    Attributes:
      first_token_s: seconds from its arrival to its first token.
      tokens_per_s: from there on; None if it has not ended.
    """

    request: Request
    first_token_s: float
    tokens_per_s: float | None


class _Prompt:
    """A request that is to have its first token.

    Attributes:
      steps: that its prompt takes, or parts of them, and the one that ran when it came; 0 while it has no row.
      left: part of them that is still to come.
    """

    __slots__ = ("left", "request", "steps")

    def __init__(self, request: Request) -> None:
        self.request, self.steps, self.left = request, 0.0, 1.0


class SimulatedGroup:
    """Rows that decode together, and prompts one after the other, those that are urgent first.

    As in the engine (`serving.engine.scheduler`), a step adds a token to each row that decodes and computes part of a
    prompt, so both slow each other down; and a prompt that arrives waits for the step that runs; a prompt that has
    waited for another one begins in the last step of that. Between two events everything goes on evenly, so time passes
    from event to event and not from step to step.

    Attributes:
      ready_at: when it can begin.
      next_event: when a prompt or an answer ends, if nothing comes before that.
      report: the newest that the autoscaler has.
      is_stopping: it takes no more requests.
    """

    def __init__(self, pace: Pace, rows: int, ready_at: float) -> None:
        self.ready_at = ready_at
        self.next_event = inf
        self.report: ReplicaReport | None = None
        self.is_stopping = False
        self._pace, self._rows = pace, rows
        self._now = ready_at
        self._drawn = 0.0  # tokens of a row that has decoded all the time
        self._decoding: list[tuple[float, int, Request, float]] = []  # by `_drawn` at its end
        self._prompts: tuple[deque[_Prompt], deque[_Prompt]] = (deque(), deque())  # urgent ones, others
        self._paused: _Prompt | None = None  # one of the others that has a row, with urgent ones before it
        self._started = 0
        # Until the next event:
        self._prompt_ends = False  # at that; or an answer does
        self._computing: _Prompt | None = None
        self._parts_per_s = self._draws_per_s = 0.0

    @property
    def running(self) -> int:
        """Requests that have a row."""
        return len(self._decoding) + len({self._computing, self._paused} - {None})

    @property
    def ongoing(self) -> int:
        """Requests that are assigned to it."""
        return len(self._decoding) + len(self._prompts[0]) + len(self._prompts[1])

    @property
    def queued(self) -> int:
        """Requests that have no row yet."""
        return self.ongoing - self.running

    @property
    def rows(self) -> int:
        """Requests that can have a row."""
        return self._rows

    def take(self, request: Request, now: float) -> None:
        """Assigns a request to this group."""
        self._pass(now)
        self._prompts[0 if request.is_urgent else 1].append(_Prompt(request))
        self._plan(1 if self._decoding else 0)

    def advance(self) -> Answer | None:
        """Lets time pass up to the next event; returns the answer if one ends there."""
        self._pass(self.next_event)
        answer, is_shared = None, False
        if self._prompt_ends and self._computing is not None:
            self._begin_answer(self._computing)
            is_shared = True
        else:
            _, _, request, first_at = heappop(self._decoding)
            took_s = self._now - first_at
            rate = request.generated / took_s if took_s > 0 else inf
            answer = Answer(request, first_at - request.arrival_s, rate)
        self._plan(0, is_shared=is_shared)
        return answer

    def begun(self) -> list[Answer]:
        """Those that have begun and not ended."""
        return [Answer(request, first_at - request.arrival_s, None) for _, _, request, first_at in self._decoding]

    def _begin_answer(self, prompt: _Prompt) -> None:
        self._prompts[0 if prompt.request.is_urgent else 1].popleft()
        if prompt is self._paused:
            self._paused = None
        self._started += 1
        end = self._drawn + prompt.request.generated
        heappush(self._decoding, (end, self._started, prompt.request, self._now))

    def _has_row(self, prompt: _Prompt) -> bool:
        """Whether there is a row for a prompt: urgent requests take those of others, as in the engine."""
        if not prompt.request.is_urgent:
            return len(self._decoding) < self._rows
        return len(self._decoding) < self._rows or not all(one[2].is_urgent for one in self._decoding)

    def _plan(self, steps_before: int, *, is_shared: bool = False) -> None:
        """Starts the prompt that is next, if there is a row for it, and finds the next event.

        Args:
          steps_before: that it waits for.
          is_shared: whether another prompt has just ended, in a step with room for more.
        """
        urgent, others = self._prompts
        prompt = urgent[0] if urgent else others[0] if others else None
        rows = len(self._decoding)
        step_s = self._pace.step_s + rows * self._pace.row_s
        if prompt is not None and not prompt.steps and self._has_row(prompt):
            tokens = prompt.request.prompt
            steps = tokens / self._pace.room(rows) if is_shared else self._pace.prompt_steps(tokens, rows)
            prompt.steps = max(_LEAST_STEPS, steps + steps_before)
            if not prompt.request.is_urgent:
                self._paused = prompt
        prompt_end = answer_end = inf
        self._computing = None
        if prompt is not None and prompt.steps:
            whole_s = prompt.steps * step_s + prompt.request.prompt * self._pace.prompt_token_s
            prompt_end = self._now + prompt.left * whole_s
            self._computing = prompt
            self._parts_per_s = 1 / whole_s
            step_s = whole_s / prompt.steps
        if rows:
            answer_end = self._now + (self._decoding[0][0] - self._drawn) * step_s
        self._draws_per_s = 1 / step_s
        self._prompt_ends = prompt_end <= answer_end
        self.next_event = prompt_end if self._prompt_ends else answer_end

    def _pass(self, now: float) -> None:
        """Computes what is computed until then; no event lies before it."""
        passed_s, self._now = now - self._now, now
        if self._computing is not None:
            self._computing.left -= passed_s * self._parts_per_s
        self._drawn += passed_s * self._draws_per_s
