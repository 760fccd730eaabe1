"""CompiledSteps: one executable for each bucket of tokens and rows, made without any weights."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from sharding import programs
from sharding.attention import Attention, attention_for, over_mesh
from sharding.batch import Bucket, make_buckets
from sharding.cache import abstract_cache
from sharding.config import GemmaConfig
from sharding.executables import ExecutableStore
from sharding.gemma import abstract_parameters
from sharding.partition import named_sharding
from sharding.sizes import check_tensor_parallel
from sharding.step import Limits, Row

type Program = Bucket | None
"""The step of a bucket; None: the sampler of all mixed steps, which have the same number of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSteps:
    """Everything that a `ModelRunner` executes, for one shape of model, mesh and limits; made by `compile_steps`.

    Attributes:
      limits: the sizes they were compiled for.
      vocab_size: V of the model.
      parameters: by path: the shape, dtype and sharding that each parameter must have.
      cache: the same of each layer's KV cache.
      newest: the same of the tokens that the slots drew last.
      by_bucket: smallest first: `sharding.programs.decode` for one token in each row, `forward` for all others.
      sampler: `sharding.programs.draw`, behind `forward`.
    """

    limits: Limits
    vocab_size: int
    parameters: dict[str, jax.ShapeDtypeStruct]
    cache: list[jax.ShapeDtypeStruct]
    newest: jax.ShapeDtypeStruct
    by_bucket: dict[Bucket, jax.stages.Compiled]
    sampler: jax.stages.Compiled

    def bucket_for(self, rows: Sequence[Row], *, decodes: bool) -> Bucket:
        """Returns the smallest shape that holds the rows, of those with one token in each row or of the others.

        Raises:
          ValueError: there are more rows or tokens than `limits` allows.
        """
        num_tokens = sum(row.num_tokens for row in rows)
        if not 0 < len(rows) <= self.limits.max_rows or num_tokens > self.limits.max_step_tokens:
            raise ValueError(
                f"rows: {len(rows)} rows with {num_tokens} tokens, but this runner takes 1 to {self.limits.max_rows} "
                f"rows with at most {self.limits.max_step_tokens} tokens in a step."
            )
        return next(bucket for bucket in self.by_bucket if bucket.decodes == decodes and bucket.tokens >= num_tokens)


def compile_steps(
    config: GemmaConfig,
    mesh: Mesh,
    dtype: DTypeLike,
    limits: Limits,
    attention: Attention | None = None,
    buckets: Sequence[Bucket] | None = None,
    store: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CompiledSteps:
    """Compiles every bucket, several at a time, or reads what was compiled before.

    Args:
      config: the shape of the model.
      mesh: the devices.
      dtype: of parameters, activations and KV cache.
      limits: the sizes to compile for.
      attention: by default the best one for the devices.
      buckets: the shapes to compile, smallest first; by default all that `limits` need.
      store: a directory in which the executables are kept for the next time; None: they are not.
      on_progress: called as `on_progress(done, total)` after each, or once when all were read.

    Raises:
      ValueError: the mesh does not divide the model.
    """
    check_tensor_parallel(config, mesh.size)
    platform = mesh.devices.flat[0].platform
    attention = attention or attention_for(platform)
    spanning = over_mesh(attention, config, mesh)
    parameters = abstract_parameters(config, mesh, dtype)
    cache = abstract_cache(config, mesh, dtype, limits.num_pages, limits.page_size)
    newest = jax.ShapeDtypeStruct((limits.slots,), jnp.int32, sharding=named_sharding((), config, mesh))
    buckets = buckets or make_buckets(
        limits.max_rows,
        limits.max_step_tokens,
        max_pages=limits.pages_per_sequence,
        min_rows=2 if platform == "cpu" and dtype == jnp.bfloat16 else 1,  # XLA: 10 times slower for one row
    )
    mixed = next(bucket for bucket in buckets if not bucket.decodes)

    def compile_one(program: Program) -> jax.stages.Compiled:
        bucket, sampler = program or mixed, program is None
        return compile_program(config, mesh, spanning, parameters, cache, newest, bucket, sampler=sampler)

    compile_all = partial(_compile_all, [*buckets, None], compile_one, on_progress)
    if store is None:
        executables = compile_all()
    else:
        made_of = config, jnp.dtype(dtype).name, limits, buckets, type(attention)
        executables = ExecutableStore[Program](store, mesh, *made_of).get(compile_all)
        on_progress(1, 1)  # when all were read, nothing has been said yet
    return CompiledSteps(
        limits=limits,
        vocab_size=config.vocab_size,
        parameters=parameters,
        cache=cache,
        newest=newest,
        by_bucket={bucket: executables[bucket] for bucket in buckets},
        sampler=executables[None],
    )


def _compile_all(
    wanted: Sequence[Program],
    compile_program: Callable[[Program], jax.stages.Compiled],
    on_progress: Callable[[int, int], None],
) -> dict[Program, jax.stages.Compiled]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest first: they take longest, and nobody likes to wait for the last one alone.
        compiling = {pool.submit(compile_program, program): program for program in reversed(wanted)}
        executables = {}
        for done, compiled in enumerate(as_completed(compiling), start=1):
            executables[compiling[compiled]] = compiled.result()
            on_progress(done, len(wanted))
    return executables


def compile_program(
    config: GemmaConfig,
    mesh: Mesh,
    attention: Attention,
    parameters: dict[str, jax.ShapeDtypeStruct],
    cache: list[jax.ShapeDtypeStruct],
    newest: jax.ShapeDtypeStruct,
    bucket: Bucket,
    *,
    sampler: bool = False,
) -> jax.stages.Compiled:
    """Compiles the step of a bucket, or the sampler behind it."""
    sharding = partial(named_sharding, config=config, mesh=mesh)
    replicated, caches = sharding(()), [layer.sharding for layer in cache]
    logits_sharding = sharding(("B", "V"))
    tokens = jax.ShapeDtypeStruct((bucket.tokens_layout.size,), jnp.int32, sharding=replicated)
    draws = jax.ShapeDtypeStruct((bucket.draws_layout.size,), jnp.int32, sharding=replicated)
    if sampler:
        logits = jax.ShapeDtypeStruct((bucket.rows, config.vocab_size), jnp.float32, sharding=logits_sharding)
        draw = jax.jit(partial(programs.draw, bucket), out_shardings=replicated, donate_argnums=1)
        return draw.lower(logits, newest, draws).compile()
    if bucket.decodes:
        decode = jax.jit(
            partial(programs.decode, config, attention, bucket),
            out_shardings=(replicated, replicated, caches),
            donate_argnums=(1, 2),
        )
        return decode.lower(parameters, cache, newest, tokens, draws).compile()
    forward = jax.jit(
        partial(programs.forward, config, attention, bucket),
        out_shardings=(logits_sharding, caches),
        donate_argnums=1,
    )
    return forward.lower(parameters, cache, newest, tokens).compile()
