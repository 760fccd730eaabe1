"""FailingGroup: a simulated group that does what a prompt tells it to: work, fail, hang."""

import os
import threading
from collections.abc import Sequence

from serving.config import ModelConfig
from serving.group.progress import OnProgress
from serving.group.runner import GroupRunner
from sharding.step import Row
from tests.service.simulated_group import SimulatedGroup, SimulatedRunner

FAIL, HANG = 13, 14
"""Token ids that make the step which computes them raise, or never return."""


class _Runner(SimulatedRunner):
    def launch(self, rows: Sequence[Row]) -> None:
        tokens = {token for row in rows for token in row.token_ids}
        if FAIL in tokens:
            raise RuntimeError("the device is on fire")
        if HANG in tokens:
            threading.Event().wait()
        super().launch(rows)


class FailingGroup(SimulatedGroup):
    """The real leader over a runner that fails on demand."""

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
        """No weights, no JAX: ready at once."""
        simulated = SimulatedGroup.load(model, on_progress)
        return _Runner(simulated.limits, step_s=0.02)

    async def pid(self) -> int:
        """The process to kill."""
        return os.getpid()
