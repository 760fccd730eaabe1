"""CompiledSteps: one executable for each bucket of tokens and rows, made without any weights."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from sharding.attention import AttentionImplementation, attention_for
from sharding.batch import Bucket, make_buckets
from sharding.buckets import bucket_sizes
from sharding.compiler_options import programs_at_once
from sharding.config import GemmaConfig
from sharding.executables import ExecutableStore, why_not_taken
from sharding.kept import Kept
from sharding.sizes import check_tensor_parallel
from sharding.step import Limits, Row
from sharding.step_compiler import StepCompiler
from sharding.weights import AbstractWeight

type Program = Bucket | Literal["sampler", "opener", "adapter loader"]
"""The step of a bucket; the sampler of all mixed steps, which have the same number of rows; `programs.open_slot`; of a
model with adapters `with_adapter`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSteps:
    """Everything that a `ModelRunner` executes, for one shape of model, mesh and limits; made by `compile_steps`.

    Attributes:
      limits: the sizes they were compiled for.
      vocab_size: V of the model.
      parameters: by path: the shape, dtype and sharding that each parameter must have.
      adapters: the same of its adapters, which are behind the parameters wherever both are taken.
      cache: the same of each layer's KV cache.
      kept: the same of what is kept of the sequences.
      by_bucket: smallest first: `sharding.programs.decode` for one token in each row, `forward` for all others.
      sampler: `sharding.programs.draw`, behind `forward`.
      opener: `sharding.programs.open_slot`.
      adapter_loader: `sharding.adapters.stack.with_adapter`; None for a model without adapters.
    """

    limits: Limits
    vocab_size: int
    parameters: dict[str, AbstractWeight]
    adapters: dict[str, jax.ShapeDtypeStruct]
    cache: list[jax.ShapeDtypeStruct]
    kept: Kept[jax.ShapeDtypeStruct]
    by_bucket: dict[Bucket, jax.stages.Compiled]
    sampler: jax.stages.Compiled
    opener: jax.stages.Compiled
    adapter_loader: jax.stages.Compiled | None

    def bucket_for(self, rows: Sequence[Row], *, mixed: bool = False) -> Bucket:
        """Returns the smallest shape that holds the rows.

        Args:
          rows: of a step.
          mixed: choose among the shapes of mixed steps, even if each row has one token and no target.

        Raises:
          ValueError: there are more rows, tokens or outputs than `limits` allows.
        """
        num_tokens = sum(row.num_tokens for row in rows)
        num_outputs = sum(row.num_outputs for row in rows)
        if not 0 < num_outputs <= self.limits.max_rows or num_tokens > self.limits.max_step_tokens:
            raise ValueError(
                f"rows: {len(rows)} rows with {num_tokens} tokens and {num_outputs} outputs, but this runner takes 1 "
                f"to {self.limits.max_rows} rows, with at most {self.limits.max_step_tokens} tokens and as many "
                f"outputs as it takes rows."
            )
        decodes = num_tokens == len(rows) and not mixed and not any(row.targets for row in rows)
        return next(bucket for bucket in self.by_bucket if bucket.decodes == decodes and bucket.tokens >= num_tokens)


def compile_steps(
    config: GemmaConfig,
    mesh: Mesh,
    dtype: DTypeLike,
    limits: Limits,
    attention: AttentionImplementation | None = None,
    buckets: Sequence[Bucket] | None = None,
    store: ExecutableStore | None = None,
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
      store: where executables are read from and written to; None: they are compiled.
      on_progress: called as `on_progress(done, total)` after each program, or once when all were read.

    Raises:
      ValueError: the mesh does not divide the model.
    """
    check_tensor_parallel(config, mesh.size)
    attention = attention or attention_for(mesh.devices.flat[0].platform)
    compiler = StepCompiler.of(config, mesh, dtype, limits, attention)
    if buckets is None:
        buckets = _buckets(config, mesh, dtype, limits)
    programs: list[Program] = [*buckets, "sampler", "opener"]
    if limits.adapters:
        programs.append("adapter loader")
    compile_all = partial(_compile_all, compiler, programs, on_progress)
    if store is None:
        executables = compile_all()
    else:
        executables = store.get(mesh, _made_of(config, dtype, limits, buckets, attention), compile_all)
        on_progress(len(programs), len(programs))  # when all were read, nothing has been said yet
    return CompiledSteps(
        limits=limits,
        vocab_size=config.vocab_size,
        parameters=compiler.parameters,
        adapters=compiler.adapters,
        cache=compiler.cache,
        kept=compiler.kept,
        by_bucket={bucket: executables[bucket] for bucket in buckets},
        sampler=executables["sampler"],
        opener=executables["opener"],
        adapter_loader=executables.get("adapter loader"),
    )


def why_unfit(path: Path, config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, limits: Limits) -> str | None:
    """Why groups would not take the executables of a file for the steps that `compile_steps` compiles of the same.

    None if they would; whether the devices load them is not tried.

    Raises:
      OSError: the file cannot be read.
      UntrustedFileError: others could have written the key that it should be signed with.
    """
    attention = attention_for(mesh.devices.flat[0].platform)
    made_of = _made_of(config, dtype, limits, _buckets(config, mesh, dtype, limits), attention)
    return why_not_taken(path, mesh, made_of)


def _buckets(config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, limits: Limits) -> Sequence[Bucket]:
    sizes = bucket_sizes(
        mesh.devices.flat[0].platform,
        jnp.dtype(dtype).name,
        limits.max_rows,
        limits.max_step_tokens,
        quantised=config.quantization is not None,
    )
    return make_buckets(sizes, limits.max_rows, limits.pages_per_sequence, limits.adapters)


def _made_of(
    config: GemmaConfig, dtype: DTypeLike, limits: Limits, buckets: Sequence[Bucket], attention: AttentionImplementation
) -> Mapping[str, object]:
    return {
        "model": config,
        "dtype": jnp.dtype(dtype).name,
        "limits": limits,
        "buckets": buckets,
        "attention": type(attention).__name__,
    }


def _compile_all(
    compiler: StepCompiler, programs: Sequence[Program], on_progress: Callable[[int, int], None]
) -> dict[Program, jax.stages.Compiled]:
    mixed = next(program for program in programs if isinstance(program, Bucket) and not program.decodes)

    def compile_one(program: Program) -> jax.stages.Compiled:
        match program:
            case "sampler":
                return compiler.sampler(mixed)
            case "opener":
                return compiler.opener()
            case "adapter loader":
                return compiler.adapter_loader()
            case bucket:
                return compiler.step(bucket)

    with ThreadPoolExecutor(programs_at_once()) as pool:
        # The largest first: they take longest, so that they do not run alone at the end.
        compiling = {pool.submit(compile_one, program): program for program in reversed(programs)}
        executables = {}
        for done, compiled in enumerate(as_completed(compiling), start=1):
            executables[compiling[compiled]] = compiled.result()
            on_progress(done, len(programs))
    return executables
