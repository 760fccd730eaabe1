"""SteeredGroup: a simulated group whose generations go on until a test ends them."""

import os
from pathlib import Path

from serving.config import ModelConfig
from serving.group.progress import OnProgress
from serving.group.runner import GroupRunner
from sharding.step import Limits, Token
from tests.service.simulated_group import SimulatedGroup, SimulatedRunner

END = "CODEGEMMA_STEERED_END"
"""Environment variable of the groups' processes: the path of a file. While there is one, the next token is the last."""

_STEP_S = 0.1
_END_OF_SEQUENCE = 1


class _Runner(SimulatedRunner):
    def __init__(self, limits: Limits, end: Path) -> None:
        super().__init__(limits, step_s=_STEP_S)
        self._end = end

    def land(self) -> list[list[Token]]:
        tokens = super().land()
        return [[Token(_END_OF_SEQUENCE)] * len(row) for row in tokens] if self._end.exists() else tokens


class SteeredGroup(SimulatedGroup):
    """The real leader over a runner that ends everything on a signal."""

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
        """No weights, no JAX: ready at once."""
        return _Runner(SimulatedGroup.load(model, on_progress).limits, Path(os.environ[END]))
