"""LocalRunner: the engine's `Runner` on the devices of this process."""

from collections.abc import Sequence

from serving.engine.request import Token
from serving.engine.runner import RunnerLimits, StepRow
from sharding.runner import ModelRunner


class LocalRunner:
    """Runs each step on a `ModelRunner`, and answers in the engine's own words.

    Those also travel to the Gateway, which must not need JAX to read them.
    """

    def __init__(self, runner: ModelRunner[RunnerLimits]) -> None:
        self._runner = runner

    @property
    def limits(self) -> RunnerLimits:
        return self._runner.limits

    @property
    def recompilations(self) -> int:
        """Compilations since the runner was ready; anything but 0 is a bug."""
        return self._runner.recompilations

    def step(self, rows: Sequence[StepRow]) -> list[Token | None]:
        """Runs one step: a token for each row with `sampling`, None for the others."""
        sampled = self._runner.step(rows)
        return [None if token is None else Token(token.id, token.logprob, token.top) for token in sampled]
