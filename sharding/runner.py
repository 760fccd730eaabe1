"""ModelRunner: executes steps with the compiled programs of a model and its weights."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import jax
import numpy as np

from sharding.adapters import Adapter
from sharding.adapters.stack import PlacedAdapter, Stack, abstract_adapter, new_stack, place_adapter
from sharding.cache import new_cache
from sharding.drawn_tokens import DrawnTokens
from sharding.kept import Kept
from sharding.slots import Slots
from sharding.step import Limits, Row, Token
from sharding.steps import CompiledSteps
from sharding.weights import Weight


@dataclass(frozen=True, slots=True)
class _Launched:
    """A step on its way.

    Attributes:
      record: what it draws; None for a step that draws nothing.
      done: is ready when the step is.
      rows: how many it has.
      outputs: the row of each of its outputs.
      logprobs: `SamplingParams.logprobs` of each output.
    """

    record: DrawnTokens | None
    done: jax.Array
    rows: int
    outputs: list[int]
    logprobs: list[int | None]


class ModelRunner:
    """A model, its KV cache and its slots, ready to step. One thread launches, and one lands.

    Attributes:
      steps: what it executes.
      recompilations: compilations in `launch`; anything but 0 is a bug.
    """

    def __init__(self, parameters: Mapping[str, Weight], steps: CompiledSteps) -> None:
        """Allocates the KV cache.

        Args:
          parameters: as `steps.parameters` describes them.
          steps: compiled for the model and its devices.
        """
        self.steps = steps
        self.recompilations = 0
        self._own_parameters = [parameters[path] for path in steps.parameters]
        self._take_adapters(new_stack(steps.adapters))
        self._cache = new_cache(steps.cache)
        self._kept = Kept.new(steps.kept)
        self._slots = Slots(steps.limits)
        self._launched: deque[_Launched] = deque()
        _watch_compilations()

    @property
    def limits(self) -> Limits:
        """The sizes that it was compiled for."""
        return self.steps.limits

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step behind those launched before; returns without waiting for them.

        Raises:
          ValueError: there are more rows, tokens or outputs than `limits` allows.
        """
        compilations = _compilations()
        bucket = self.steps.bucket_for(rows)
        for opened in self._slots.update(rows):
            self._kept = self.steps.opener(self._kept, opened)
        record = None
        if bucket.decodes:
            tokens, draws = bucket.pack_tokens(rows, self._slots), bucket.pack_draws(rows, self._slots)
            step = self.steps.by_bucket[bucket]
            record, self._kept, self._cache = step(self._parameters, self._cache, self._kept, tokens, draws)
            done = record.token_ids
        else:
            done = self._forward(rows)
            if any(row.draws or row.targets for row in rows):
                draws = bucket.pack_draws(rows, self._slots)
                record, self._kept = self.steps.sampler(done, self._kept, draws)
        if record is not None:
            record.token_ids.copy_to_host_async()
        outputs = [index for index, row in enumerate(rows) for _ in range(row.num_outputs)]
        logprobs = [self._slots.logprobs(rows[index].slot) for index in outputs]
        self._launched.append(_Launched(record, done, len(rows), outputs, logprobs))
        self.recompilations += _compilations() - compilations

    def place_adapter(self, adapter: Adapter) -> PlacedAdapter:
        """Brings an adapter to the devices, from any thread; it has a rank of at most `Limits.adapter_rank`."""
        return place_adapter(adapter.weights, abstract_adapter(self.steps.adapters))

    def load_adapter(self, number: int, adapter: PlacedAdapter) -> None:
        """Takes an adapter in behind the steps launched before; those launched from now on compute with it.

        Args:
          number: by which `Opening.adapter` is to mean it, 1 .. `Limits.adapters`; what had it before is gone.
          adapter: of `place_adapter`.
        """
        load = self.steps.adapter_loader
        assert load is not None, "compiled for a model without adapters"
        compilations = _compilations()
        self._take_adapters(load(self._adapters, np.int32(number - 1), adapter))
        self.recompilations += _compilations() - compilations

    def land(self) -> list[list[Token]]:
        """Waits for the oldest step that has not landed: each row's targets, then the tokens that it drew.

        Raises:
          FloatingPointError: the model's output is not a number.
        """
        launched = self._launched.popleft()
        tokens: list[list[Token]] = [[] for _ in range(launched.rows)]
        if launched.record is None:
            launched.done.block_until_ready()
            return tokens
        drawn = launched.record.tokens(launched.logprobs, self.steps.vocab_size)
        for row, after_output in zip(launched.outputs, drawn, strict=True):
            tokens[row] += after_output
        return tokens

    def logits(self, rows: Sequence[Row]) -> np.ndarray:
        """Runs one mixed step and returns the logits after each of its outputs: float32 [outputs, V].

        Without targets, these are the rows' last tokens.
        """
        self._slots.update(rows)
        return np.asarray(self._forward(rows))[: sum(row.num_outputs for row in rows)]

    def _take_adapters(self, adapters: Stack) -> None:
        self._adapters = adapters
        self._parameters = [*self._own_parameters, *(adapters[path] for path in self.steps.adapters)]

    def _forward(self, rows: Sequence[Row]) -> jax.Array:
        bucket = self.steps.bucket_for(rows, mixed=True)
        tokens = bucket.pack_tokens(rows, self._slots)
        logits: jax.Array
        logits, self._cache = self.steps.by_bucket[bucket](self._parameters, self._cache, self._kept, tokens)
        return logits


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
