"""LocalRunner: the engine's `Runner` on the devices of this process."""

from collections.abc import Sequence

from serving.config import ModelConfig
from serving.engine.request import Token
from serving.engine.runner import RunnerLimits, StepRow
from serving.group.loading import load_model
from serving.group.progress import OnProgress
from sharding.mesh import use_devices
from sharding.runner import ModelRunner


class LocalRunner:
    """Runs each step on a `ModelRunner`, and answers in the engine's own words.

    Those also travel to the Gateway, which must not need JAX to read them.
    """

    def __init__(self, runner: ModelRunner[RunnerLimits]) -> None:
        self._runner = runner

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> "LocalRunner":
        """Loads a model onto the devices of this process, the only ones of its group."""
        use_devices(model.topology.platform, cpu_devices=model.topology.chips_per_host)
        return cls(load_model(model, on_progress))

    @property
    def limits(self) -> RunnerLimits:
        return self._runner.limits

    @property
    def recompilations(self) -> int:
        return self._runner.recompilations

    def step(self, rows: Sequence[StepRow]) -> list[Token | None]:
        """Runs one step: a token for each row with `sampling`, None for the others."""
        sampled = self._runner.step(rows)
        return [None if token is None else Token(token.id, token.logprob, token.top) for token in sampled]

    async def check(self) -> None:
        """Nothing to ask: this process is the only host."""

    def close(self) -> None:
        """Nothing to end."""
