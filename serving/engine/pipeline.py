"""Pipeline: the steps that were launched and have not landed, and how long they take."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving.engine.pace import Pace
from serving.engine.runner import Runner
from serving.engine.sequence import SequenceState
from serving.engine.step_plan import StepPlan
from sharding.step import MAX_DRAWS, Token

DEPTH = 2
"""Steps that are launched at most: one runs, and one waits behind it."""
_AT_ONCE_S = 0.0005
"""A step that lands in less had ended before anybody waited for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedStep:
    """What a step drew.

    Attributes:
      plan: the step.
      tokens: the targets of each of its rows, and those that it drew.
      started, ended: seconds on the engine's clock, between which the device had no other step.
    """

    plan: StepPlan
    tokens: list[list[Token]]
    started: float
    ended: float

    @property
    def rounds(self) -> int:
        """Steps of the model that it was: several in a loop."""
        return max(
            1, *(len(tokens) - len(row.targets) for row, tokens in zip(self.plan.rows, self.tokens, strict=True))
        )


@dataclass(frozen=True, slots=True)
class _Launched:
    plan: StepPlan
    at: float


class Pipeline:
    """Launches steps on a runner and lands them, in order. One thread uses it, and any may ask `waiting_s`."""

    def __init__(self, runner: Runner, pace: Pace, clock: Callable[[], float]) -> None:
        self._runner = runner
        self._pace = pace
        self._clock = clock
        self._launched: deque[_Launched] = deque()
        self._landed_at = 0.0
        self._waiting_since: float | None = None

    def __len__(self) -> int:
        """Steps that have not landed."""
        return len(self._launched)

    def launch(self, plan: StepPlan) -> None:
        """Launches a step behind the others."""
        with self._waiting():
            self._runner.launch(plan.rows)
        self._launched.append(_Launched(plan, self._clock()))

    def land(self) -> LandedStep:
        """Waits for the oldest step.

        Raises:
          RuntimeError: the runner did not draw what the rows ask for.
        """
        waiting_since = self._clock()
        with self._waiting():
            tokens = self._runner.land()
        launched = self._launched.popleft()
        started, self._landed_at = self._started(launched), self._clock()
        if not _answers(launched.plan, tokens):
            raise RuntimeError("the runner did not answer with the tokens that the rows asked for")
        step = LandedStep(plan=launched.plan, tokens=tokens, started=started, ended=self._landed_at)
        # The next step is launched when this one is expected to end. If it had ended long before, this is how long it
        # was expected to take, and not how long it took: were it counted, a device that was slow once would stay idle.
        exact = step.ended - waiting_since >= _AT_ONCE_S
        self._pace.add(step.ended - started, step.rounds, sum(step.plan.tokens), exact=exact)
        return step

    def expected_end(self) -> float:
        """When the step that runs ends, at the earliest; before now if nothing is known of its like."""
        launched = self._launched[0]
        rounds = max(1, *(row.draws for row in launched.plan.rows))
        return self._started(launched) + rounds * self._pace.at_least_s(sum(launched.plan.tokens))

    def max_draws(self, rows: int, loop_s: float) -> int:
        """How many tokens so many rows may draw in a loop of at most `loop_s` seconds; 1 while that is not known."""
        round_s = self._pace.at_most_s(rows)
        if round_s is None:
            return 1
        return MAX_DRAWS if round_s * MAX_DRAWS <= loop_s else max(1, int(loop_s / round_s))

    def waiting_s(self) -> float:
        """Seconds since when the runner has not returned; 0 when it is not asked for anything."""
        since = self._waiting_since
        return 0.0 if since is None else self._clock() - since

    def _started(self, launched: _Launched) -> float:
        """When the device began with a step: it does one at a time."""
        return max(launched.at, self._landed_at)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._waiting_since = self._clock()
        try:
            yield
        finally:
            self._waiting_since = None


def _answers(plan: StepPlan, answer: list[list[Token]]) -> bool:
    """Whether the runner gave what the rows ask for; a row that drew a stop id may have drawn fewer."""
    return len(answer) == len(plan.rows) and all(
        (drawn := len(tokens) - len(row.targets)) == row.draws
        or (0 < drawn < row.draws and tokens[-1].id in sequence.request.stop_ids)
        or sequence.state is SequenceState.FINISHED
        for sequence, row, tokens in zip(plan.sequences, plan.rows, answer, strict=True)
    )
