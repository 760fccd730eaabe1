"""LocalRunner: the engine's `Runner` on the devices of this process."""

from collections.abc import Sequence

from sharding.runner import ModelRunner
from sharding.step import Limits, Row, Token


class LocalRunner:
    """Runs each step on a `ModelRunner`, and answers in the engine's own words.

    Those also travel to the Gateway, which must not need JAX to read them.

    Attributes:
      step_limit_s: see `GroupRunner`.
    """

    def __init__(self, runner: ModelRunner[Limits], step_limit_s: float) -> None:
        self.step_limit_s = step_limit_s
        self._runner = runner

    @property
    def limits(self) -> Limits:
        return self._runner.limits

    @property
    def recompilations(self) -> int:
        return self._runner.recompilations

    def step(self, rows: Sequence[Row]) -> list[Token | None]:
        """Runs one step: a token for each row with `sampling`, None for the others."""
        sampled = self._runner.step(rows)
        return [None if token is None else Token(token.id, token.logprob, token.top) for token in sampled]

    async def check(self) -> None:
        """Nothing to ask: this process is the only host."""

    def close(self) -> None:
        """Nothing to end."""
