"""ModelRunner: executes step plans with a fixed set of compiled shapes."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sharding.attention import Attention, attention_for, over_mesh
from sharding.batch import Bucket, Row, SamplingParams, make_buckets
from sharding.cache import new_cache
from sharding.config import GemmaConfig
from sharding.gemma import build
from sharding.partition import check_tensor_parallel, named_sharding
from sharding.sampling import Draw, Drawn, sample

MAX_LOGPROBS = 20
"""Most alternatives reported for a token."""


class Limits(Protocol):
    """The sizes a runner is compiled for; `serving.engine.runner.RunnerLimits` is one.

    Attributes:
      page_size: tokens in one KV page.
      num_pages: P, pages of the KV cache.
      max_rows: sequences in one step.
      max_step_tokens: tokens in one step, over all rows.
      max_context: tokens in one sequence.
    """

    @property
    def page_size(self) -> int: ...
    @property
    def num_pages(self) -> int: ...
    @property
    def max_rows(self) -> int: ...
    @property
    def max_step_tokens(self) -> int: ...
    @property
    def max_context(self) -> int: ...


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
    """A model, its KV cache, and one executable for each bucket of tokens and rows.

    Attributes:
      limits: the sizes it was made for.
      recompilations: compilations during `step`; anything but 0 is a bug.
    """

    def __init__(
        self,
        parameters: Mapping[str, jax.Array],
        config: GemmaConfig,
        mesh: Mesh,
        limits: L,
        attention: Attention | None = None,
    ) -> None:
        """Allocates the KV cache; `compile` makes the runner ready.

        Args:
          parameters: as `sharding.gemma.abstract_parameters` describes them.
          config: the shape of the model.
          mesh: the devices.
          limits: the sizes to compile for.
          attention: by default the best one for the devices.

        Raises:
          ValueError: the mesh does not divide the model, or the parameters do not fit it.
        """
        check_tensor_parallel(config, mesh.size)
        platform = mesh.devices.flat[0].platform
        self.limits = limits
        self.recompilations = 0
        self._config = config
        self._mesh = mesh
        self._parameters = dict(parameters)
        self._attention = over_mesh(attention or attention_for(platform), config, mesh)
        dtype = self._parameters["embedder.weight"].dtype
        self._cache = new_cache(config, mesh, dtype, limits.num_pages, limits.page_size)
        self._buckets = make_buckets(
            limits.max_rows,
            limits.max_step_tokens,
            max_pages=-(-limits.max_context // limits.page_size),
            min_rows=2 if platform == "cpu" and dtype == jnp.bfloat16 else 1,  # XLA: 10 times slower for one row
        )
        self._forward_steps: dict[Bucket, jax.stages.Compiled] = {}
        self._samplers: dict[int, jax.stages.Compiled] = {}
        _watch_compilations()

    def compile(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compiles every bucket, several at a time; calls `on_progress(done, total)` after each."""
        replicated = named_sharding((), config=self._config, mesh=self._mesh)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            compiling = {pool.submit(self._compile_forward, bucket): bucket for bucket in self._buckets}
            for done, compiled in enumerate(as_completed(compiling), start=1):
                self._forward_steps[compiling[compiled]] = compiled.result()
                on_progress(done, len(self._buckets))
        for bucket, forward_step in self._forward_steps.items():
            if bucket.rows not in self._samplers:
                logits, draw, _ = forward_step.out_info
                sampler = jax.jit(partial(sample, max_logprobs=MAX_LOGPROBS), out_shardings=replicated)
                self._samplers[bucket.rows] = sampler.lower(logits, draw).compile()

    def _compile_forward(self, bucket: Bucket) -> jax.stages.Compiled:
        sharding = partial(named_sharding, config=self._config, mesh=self._mesh)
        packed = jax.ShapeDtypeStruct((bucket.packed_size,), jnp.int32, sharding=sharding(()))
        shardings = sharding(("B", "V")), sharding(()), self._cache[0].sharding
        forward = jax.jit(partial(self._forward, bucket), out_shardings=shardings, donate_argnums=1)
        return forward.lower(self._parameters, self._cache, packed).compile()

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
            tokens = self._tokens(rows, self._samplers[len(logits)](logits, draw))
        self.recompilations += _compilations() - compilations
        return tokens

    def logits(self, rows: Sequence[Row]) -> np.ndarray:
        """Runs one step and returns the logits after each row's last token: float32 [len(rows), V]."""
        return np.asarray(self._run(rows)[0])[: len(rows)]

    def _run(self, rows: Sequence[Row]) -> tuple[jax.Array, Draw]:
        bucket = self._bucket(rows)
        logits, draw, self._cache = self._forward_steps[bucket](self._parameters, self._cache, bucket.pack(rows))
        return logits, draw

    def _bucket(self, rows: Sequence[Row]) -> Bucket:
        num_tokens = sum(len(row.token_ids) for row in rows)
        if not 0 < len(rows) <= self.limits.max_rows or num_tokens > self.limits.max_step_tokens:
            raise ValueError(
                f"rows: {len(rows)} rows with {num_tokens} tokens, but this runner takes 1 to {self.limits.max_rows} "
                f"rows with at most {self.limits.max_step_tokens} tokens in a step."
            )
        decode = all(len(row.token_ids) == 1 for row in rows)
        return next(
            bucket
            for bucket in self._buckets
            if (bucket.tokens == bucket.rows) == decode and bucket.tokens >= num_tokens
        )

    def _forward(
        self, bucket: Bucket, parameters: dict[str, jax.Array], cache: list[jax.Array], packed: jax.Array
    ) -> tuple[jax.Array, Draw, list[jax.Array]]:
        step = bucket.unpack(packed)
        model = build(self._config, parameters)
        x, cache = model(step.token_ids, cache, step.ragged, self._attention)
        return model.logits(x[step.ragged.cu_q_lens[1:] - 1]), step.draw, cache

    def _tokens(self, rows: Sequence[Row], drawn: Drawn) -> list[SampledToken | None]:
        wanted = [row.sampling for row in rows]
        token_ids = np.asarray(drawn.token_ids).tolist()
        if max(token_ids[: len(rows)]) >= self._config.vocab_size:
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


def use_compilation_cache(directory: Path) -> None:
    """Keeps compiled executables in `directory`, so that the next process starts faster. Call it before compiling."""
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


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
