"""SimulatedGroup: a replica group whose model does nothing but take time, for what happens around a model."""

import os
import time
from collections import deque
from collections.abc import Sequence

from serving.config import ModelConfig, ServingConfig
from serving.group.leader import ReplicaGroup
from serving.group.progress import OnProgress
from serving.group.runner import GroupRunner
from sharding.step import Limits, Row, Token
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER

STEP_S = "CODEGEMMA_SIMULATED_STEP_S"
TOKEN_S = "CODEGEMMA_SIMULATED_TOKEN_S"
"""Environment variables of the groups' processes: seconds of a step, 0.01 by default, and of each token in it, 0."""

_TOKEN = 1645
"""A word in CodeGemma's vocabulary; a control token would end every generation at its first step."""


def simulated_service(model_id: str, limits: dict[str, int], gateways: int = 1, **fields: object) -> ServingConfig:
    """A service of one simulated model for both roles, with a real tokenizer and no weights."""
    model = {
        "id": model_id,
        "checkpoint": str(CODEGEMMA_TOKENIZER.parent),
        "tokenizer": str(CODEGEMMA_TOKENIZER),
        "roles": ["fim", "chat"],
        "limits": limits,
    }
    return ServingConfig.model_validate({"models": [model | fields], "gateway": {"replicas": gateways}})


class SimulatedRunner:
    """Its steps take `step_s` and `token_s` for each token, one after the other; every row draws the same token."""

    adapters = None
    recompilations = 0
    step_limit_s = 0.0

    def __init__(self, limits: Limits, step_s: float, token_s: float = 0.0) -> None:
        self.limits = limits
        self._step_s = step_s
        self._token_s = token_s
        self._free_at = 0.0
        self._launched: deque[tuple[float, list[list[Token]]]] = deque()

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step when those launched before are done."""
        rounds = max(row.draws for row in rows) or 1
        self._free_at = max(self._free_at, time.monotonic())
        self._free_at += self._step_s * rounds + self._token_s * sum(row.end - row.start for row in rows)
        self._launched.append((self._free_at, [[Token(_TOKEN)] * row.draws for row in rows]))

    def land(self) -> list[list[Token]]:
        """Waits for the oldest step."""
        done_at, tokens = self._launched.popleft()
        time.sleep(max(0.0, done_at - time.monotonic()))
        return tokens

    async def check(self) -> None:
        """There is no host that could be gone."""

    def close(self) -> None:
        """There is nothing to end."""


class SimulatedGroup(ReplicaGroup):
    """The real leader and engine over a `SimulatedRunner`."""

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
        """No weights, no JAX: ready at once."""
        limits = model.limits
        return SimulatedRunner(
            Limits(
                page_size=limits.page_size,
                num_pages=(limits.kv_tokens or limits.max_context * limits.max_rows) // limits.page_size,
                max_rows=limits.max_rows,
                max_step_tokens=limits.max_step_tokens,
                max_context=limits.max_context,
            ),
            float(os.environ.get(STEP_S, "0.01")),
            float(os.environ.get(TOKEN_S, "0")),
        )
