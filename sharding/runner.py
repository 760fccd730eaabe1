"""ModelRunner: executes step plans with the compiled steps of a model and its weights."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import jax
import numpy as np

from sharding.batch import Row, SamplingParams
from sharding.cache import new_cache
from sharding.sampling import Draw, Drawn
from sharding.steps import CompiledSteps, Limits
from sharding.weights import Weight


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A token drawn, like `serving.engine.request.Token`.

    Attributes:
      id: the token id.
      logprob: its log probability, if asked for.
      top: the most likely tokens, most likely first: (token id, log probability).
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class ModelRunner[L: Limits]:
    """A model and its KV cache, ready to step.

    Attributes:
      steps: what it executes.
      recompilations: compilations during `step`; anything but 0 is a bug.
    """

    def __init__(self, parameters: Mapping[str, Weight], steps: CompiledSteps[L]) -> None:
        """Allocates the KV cache.

        Args:
          parameters: as `steps.parameters` describes them.
          steps: compiled for the model and its devices.
        """
        self.steps = steps
        self.recompilations = 0
        self._parameters = dict(parameters)
        self._cache = new_cache(steps.cache)
        _watch_compilations()

    @property
    def limits(self) -> L:
        """The sizes that it was compiled for."""
        return self.steps.limits

    def step(self, rows: Sequence[Row]) -> list[SampledToken | None]:
        """Runs one step: a token for each row with `sampling`, None for the others, in the order of `rows`.

        Raises:
          ValueError: there are more rows or tokens than `limits` allows.
          FloatingPointError: the model's output is not a number.
        """
        compilations = _compilations()
        logits, draw = self._run(rows)
        if all(row.sampling is None for row in rows):
            tokens: list[SampledToken | None] = [None] * len(rows)
        else:
            tokens = self._tokens(rows, self.steps.samplers[len(logits)](logits, draw))
        self.recompilations += _compilations() - compilations
        return tokens

    def logits(self, rows: Sequence[Row]) -> np.ndarray:
        """Runs one step and returns the logits after each row's last token: float32 [len(rows), V]."""
        return np.asarray(self._run(rows)[0])[: len(rows)]

    def _run(self, rows: Sequence[Row]) -> tuple[jax.Array, Draw]:
        bucket = self.steps.bucket_for(rows)
        logits, draw, self._cache = self.steps.forward[bucket](self._parameters, self._cache, bucket.pack(rows))
        return logits, draw

    def _tokens(self, rows: Sequence[Row], drawn: Drawn) -> list[SampledToken | None]:
        wanted = [row.sampling for row in rows]
        token_ids = np.asarray(drawn.token_ids).tolist()
        if max(token_ids[: len(rows)]) >= self.steps.vocab_size:
            raise FloatingPointError("The model's logits are not numbers: check the checkpoint and its dtype.")
        if all(sampling is None or sampling.logprobs is None for sampling in wanted):
            return [None if s is None else SampledToken(t) for s, t in zip(wanted, token_ids, strict=False)]
        host = jax.device_get(drawn)
        return [None if s is None else _with_logprobs(s, i, host) for i, s in enumerate(wanted)]


def _with_logprobs(sampling: SamplingParams, row: int, drawn: Drawn) -> SampledToken:
    token_id = int(drawn.token_ids[row])
    if sampling.logprobs is None:
        return SampledToken(token_id)
    top = zip(drawn.top_ids[row].tolist(), drawn.top_logprobs[row].tolist(), strict=True)
    return SampledToken(token_id, float(drawn.logprobs[row]), tuple(top)[: sampling.logprobs])


_compiled = threading.local()


def _compilations() -> int:
    """How many programs this thread has compiled so far."""
    return getattr(_compiled, "count", 0)


@cache
def _watch_compilations() -> None:
    jax.monitoring.register_event_duration_secs_listener(_count_compilation)


def _count_compilation(event: str, duration_secs: float, **_: object) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.count = _compilations() + 1
