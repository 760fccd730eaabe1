"""CompiledSteps: one executable for each bucket of tokens and rows, made without any weights."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from sharding.attention import Attention, AttentionImplementation, attention_for, over_mesh
from sharding.batch import Bucket, Row, make_buckets
from sharding.buckets import bucket_sizes
from sharding.cache import abstract_cache
from sharding.compiler_options import compiler_options
from sharding.config import GemmaConfig
from sharding.executables import ExecutableStore
from sharding.gemma import abstract_parameters, build
from sharding.partition import named_sharding
from sharding.sampling import Draw, sample
from sharding.sizes import check_tensor_parallel
from sharding.weights import AbstractWeight, Weight

MAX_LOGPROBS = 20
"""Most alternatives reported for a token."""

type Executables = dict[Bucket | int, jax.stages.Compiled]
"""The forward step of each bucket, and the sampler of each number of rows."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSteps[L: Limits]:
    """Everything that a `ModelRunner` executes, for one shape of model, mesh and limits; made by `compile_steps`.

    Attributes:
      limits: the sizes they were compiled for.
      vocab_size: V of the model.
      parameters: by path: the shape, dtype and sharding that each parameter must have.
      cache: the same of each layer's KV cache.
      forward: by bucket, smallest first: parameters, cache, packed step -> logits [B, V], draw, new cache.
      samplers: by the rows of a bucket: logits [B, V], draw -> drawn.
    """

    limits: L
    vocab_size: int
    parameters: dict[str, AbstractWeight]
    cache: list[jax.ShapeDtypeStruct]
    forward: dict[Bucket, jax.stages.Compiled]
    samplers: dict[int, jax.stages.Compiled]

    def bucket_for(self, rows: Sequence[Row]) -> Bucket:
        """Returns the smallest shape that holds the rows.

        Raises:
          ValueError: there are more rows or tokens than `limits` allows.
        """
        num_tokens = sum(len(row.token_ids) for row in rows)
        if not 0 < len(rows) <= self.limits.max_rows or num_tokens > self.limits.max_step_tokens:
            raise ValueError(
                f"rows: {len(rows)} rows with {num_tokens} tokens, but this runner takes 1 to {self.limits.max_rows} "
                f"rows with at most {self.limits.max_step_tokens} tokens in a step."
            )
        decode = all(len(row.token_ids) == 1 for row in rows)
        return next(
            bucket
            for bucket in self.forward
            if (bucket.tokens == bucket.rows) == decode and bucket.tokens >= num_tokens
        )


def compile_steps[L: Limits](
    config: GemmaConfig,
    mesh: Mesh,
    dtype: DTypeLike,
    limits: L,
    attention: AttentionImplementation | None = None,
    buckets: Sequence[Bucket] | None = None,
    store: ExecutableStore | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CompiledSteps[L]:
    """Compiles every bucket, several at a time, or reads what was compiled before.

    Args:
      config: the shape of the model.
      mesh: the devices.
      dtype: of parameters, activations and KV cache.
      limits: the sizes to compile for.
      attention: by default the best one for the devices.
      buckets: the shapes to compile, smallest first; by default all that `limits` need.
      store: where executables are read from, and kept; None: all are compiled.
      on_progress: called as `on_progress(done, total)` after each, or once when all were read.

    Raises:
      ValueError: the mesh does not divide the model.
    """
    check_tensor_parallel(config, mesh.size)
    platform = mesh.devices.flat[0].platform
    attention = attention or attention_for(platform)
    spanning = over_mesh(attention, config, mesh)
    parameters = abstract_parameters(config, mesh, dtype)
    cache = abstract_cache(attention, config, mesh, dtype, limits.num_pages, limits.page_size)
    if buckets is None:
        sizes = bucket_sizes(platform, jnp.dtype(dtype).name, limits.max_rows, limits.max_step_tokens)
        buckets = make_buckets(sizes, limits.max_rows, max_pages=-(-limits.max_context // limits.page_size))
    compile_bucket = partial(_compile_bucket, config, mesh, spanning, parameters, cache)
    compile_all = partial(_compile_all, buckets, compile_bucket, on_progress)
    if store is None:
        executables = compile_all()
    else:
        made_of = {
            "model": config,
            "dtype": jnp.dtype(dtype).name,
            "limits": limits,
            "buckets": buckets,
            "attention": type(attention).__name__,
        }
        executables = store.get(mesh, made_of, compile_all)
        on_progress(len(buckets), len(buckets))  # when all were read, nothing has been said yet
    return CompiledSteps(
        limits=limits,
        vocab_size=config.vocab_size,
        parameters=parameters,
        cache=cache,
        forward={bucket: executables[bucket] for bucket in buckets},
        samplers={key: executable for key, executable in executables.items() if isinstance(key, int)},
    )


def _compile_all(
    buckets: Sequence[Bucket],
    compile_bucket: Callable[[Bucket], Executables],
    on_progress: Callable[[int, int], None],
) -> Executables:
    executables: Executables = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest first: they take longest, and nobody likes to wait for the last one alone.
        compiling = [pool.submit(compile_bucket, bucket) for bucket in reversed(buckets)]
        for done, compiled in enumerate(as_completed(compiling), start=1):
            executables |= compiled.result()
            on_progress(done, len(buckets))
    return executables


def _compile_bucket(
    config: GemmaConfig,
    mesh: Mesh,
    attention: Attention,
    parameters: dict[str, AbstractWeight],
    cache: list[jax.ShapeDtypeStruct],
    bucket: Bucket,
) -> Executables:
    sharding = partial(named_sharding, config=config, mesh=mesh)
    packed = jax.ShapeDtypeStruct((bucket.packed_size,), jnp.int32, sharding=sharding(()))
    out_shardings = sharding(("B", "V")), sharding(()), cache[0].sharding
    forward = jax.jit(partial(_forward, config, attention, bucket), out_shardings=out_shardings, donate_argnums=1)
    options = compiler_options(mesh.devices.flat[0].platform)
    compiled = forward.lower(parameters, cache, packed).compile(options)
    if bucket.tokens != bucket.rows:  # those have as many rows as the largest of the others
        return {bucket: compiled}
    logits, draw, _ = compiled.out_info
    sampler = jax.jit(partial(sample, max_logprobs=MAX_LOGPROBS), out_shardings=sharding(()))
    return {bucket: compiled, bucket.rows: sampler.lower(logits, draw).compile()}


def _forward(
    config: GemmaConfig,
    attention: Attention,
    bucket: Bucket,
    parameters: dict[str, Weight],
    cache: list[jax.Array],
    packed: jax.Array,
) -> tuple[jax.Array, Draw, list[jax.Array]]:
    step = bucket.unpack(packed)
    model = build(config, parameters)
    x, cache = model(step.token_ids, cache, step.ragged, attention)
    return model.logits(x[step.ragged.cu_q_lens[1:] - 1]), step.draw, cache
