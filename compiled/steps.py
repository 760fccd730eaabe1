"""The steps of a model, compiled as a group compiles them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from compiled.shipped import Configuration
from sharding.attention import attention_for
from sharding.batch import Bucket
from sharding.buckets import bucket_sizes
from sharding.sizes import kv_bytes_per_token
from sharding.step import Limits
from sharding.step_compiler import StepCompiler


@dataclass(frozen=True)
class Step:
    """A shape of step.

    Attributes:
      rows: B.
      tokens: T; as many as rows in a decode step.
    """

    rows: int
    tokens: int

    @property
    def is_decode(self) -> bool:
        """Whether every row has one token."""
        return self.rows == self.tokens

    def __str__(self) -> str:
        return f"decode, {self.rows} rows" if self.is_decode else f"prefill, {self.tokens} tokens"


@dataclass(frozen=True)
class CompiledStep:
    """What the compiler made of a step.

    Attributes:
      executable: the program.
      weight_bytes: of the parameters on one chip.
      layer_cache_bytes: of one layer's KV cache on one chip.
      num_layers: how many of these there are.
      kv_bytes: of one token's keys and values in all layers on one chip.
    """

    executable: jax.stages.Compiled
    weight_bytes: int
    layer_cache_bytes: int
    num_layers: int
    kv_bytes: int


def steps_of(configuration: Configuration) -> list[Step]:
    """Returns every shape that a group of this configuration compiles."""
    model, limits = configuration.model, configuration.model.limits
    sizes = bucket_sizes(
        model.topology.platform,
        model.dtype,
        limits.max_rows,
        limits.max_step_tokens,
        quantised=configuration.shape.quantization is not None,
    )
    decode = [Step(rows, rows) for rows in sizes.decode_rows]
    return decode + [Step(limits.max_rows, tokens) for tokens in sizes.mixed_tokens]


def smallest_and_largest(steps: Iterable[Step]) -> list[Step]:
    """Returns the smallest and the largest decode step, and the largest of the others."""
    decode, mixed = _by_kind(steps)
    return list(dict.fromkeys((decode[0], decode[-1], mixed[-1])))


def telling_steps_of(configuration: Configuration) -> list[Step]:
    """Returns the largest decode step and the largest of the others; of several hosts, who run one's programs, that."""
    decode, mixed = _by_kind(steps_of(configuration))
    return [decode[-1]] if configuration.model.topology.hosts > 1 else [decode[-1], mixed[-1]]


def _by_kind(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    steps = list(steps)
    return [step for step in steps if step.is_decode], [step for step in steps if not step.is_decode]


def compile_step(configuration: Configuration, mesh: Mesh, step: Step, layers: int | None) -> CompiledStep:
    """Compiles one step for chips that are not there.

    Args:
      configuration: whose step.
      mesh: its chips.
      step: the shape.
      layers: of the model; None: all.
    """
    model, limits = configuration.model, configuration.model.limits
    shape = replace(configuration.shape, num_layers=layers or configuration.shape.num_layers)
    dtype = jnp.dtype(model.dtype)
    sizes = Limits(
        page_size=limits.page_size,
        num_pages=configuration.num_pages,
        max_rows=limits.max_rows,
        max_step_tokens=limits.max_step_tokens,
        max_context=limits.max_context,
    )
    compiler = StepCompiler.of(shape, mesh, dtype, sizes, attention_for(model.topology.platform))
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # else Pallas looks for GPUs on this machine
        executable = compiler.step(Bucket(step.tokens, step.rows, pages=sizes.pages_per_sequence))
    return CompiledStep(
        executable=executable,
        weight_bytes=sum(map(_bytes_on_chip, jax.tree.leaves(compiler.parameters))),
        layer_cache_bytes=_bytes_on_chip(compiler.cache[0]),
        num_layers=shape.num_layers,
        kv_bytes=kv_bytes_per_token(shape, mesh.size, dtype.itemsize),
    )


def _bytes_on_chip(array: jax.ShapeDtypeStruct) -> int:
    assert array.sharding is not None
    size: int = prod(array.sharding.shard_shape(array.shape)) * jax.dtypes.itemsize_bits(array.dtype) // 8
    return size
