"""LocalRunner: the engine's `Runner` on the devices of this process, which is the only host or one of several."""

from collections.abc import Mapping

from serving.group.adapters import GroupAdapters
from sharding.runner import ModelRunner
from sharding.steps import CompiledSteps
from sharding.weights import Weight


class LocalRunner(ModelRunner):
    """A `ModelRunner` as a `GroupRunner`.

    Attributes:
      step_limit_s: see `GroupRunner`.
      adapters: see `GroupRunner`.
    """

    adapters: GroupAdapters | None = None

    def __init__(self, parameters: Mapping[str, Weight], steps: CompiledSteps, step_limit_s: float) -> None:
        super().__init__(parameters, steps)
        self.step_limit_s = step_limit_s

    async def check(self) -> None:
        """Nothing to ask: this process is the only host."""

    def close(self) -> None:
        """Nothing to end."""
