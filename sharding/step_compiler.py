"""StepCompiler: compiles the programs of a model's steps, without any weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.typing import DTypeLike

from sharding import programs
from sharding.adapters.stack import abstract_adapter, with_adapter
from sharding.attention import Attention, AttentionImplementation, over_mesh
from sharding.batch import Bucket, Layout
from sharding.cache import abstract_cache
from sharding.compiler_options import Options, compiler_options
from sharding.config import GemmaConfig
from sharding.gemma import abstract_adapters, abstract_parameters
from sharding.kept import Kept
from sharding.partition import named_sharding
from sharding.slots import Opened
from sharding.step import Limits
from sharding.weights import AbstractWeight, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompiler:
    """What the steps of one model on one mesh have in common.

    Attributes:
      config: the shape of the model.
      mesh: the devices, which need not be there.
      attention: over them.
      parameters: by path: the shape, dtype and sharding of each.
      adapters: the same of its adapters; nothing where `Limits.adapters` is 0.
      cache: the same of each layer's KV cache.
      kept: the same of what is kept of the sequences.
      opened: the same of what an opening brings.
    """

    config: GemmaConfig
    mesh: Mesh
    attention: Attention
    parameters: dict[str, AbstractWeight]
    adapters: dict[str, jax.ShapeDtypeStruct]
    cache: list[jax.ShapeDtypeStruct]
    kept: Kept[jax.ShapeDtypeStruct]
    opened: Opened[jax.ShapeDtypeStruct]

    @classmethod
    def of(
        cls, config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, limits: Limits, attention: AttentionImplementation
    ) -> "StepCompiler":
        """For a model with activations and a KV cache of `dtype`."""
        replicated = named_sharding((), config, mesh)
        opened = Opened.empty(limits.max_context)
        return cls(
            config=config,
            mesh=mesh,
            attention=over_mesh(attention, config, mesh),
            parameters=abstract_parameters(config, mesh, dtype),
            adapters=abstract_adapters(config, mesh, dtype, limits.adapters, limits.adapter_rank),
            cache=abstract_cache(attention, config, mesh, dtype, limits.num_pages, limits.page_size),
            kept=Kept.abstract(limits, replicated),
            opened=Opened(*(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated) for x in opened)),
        )

    def step(self, bucket: Bucket) -> jax.stages.Compiled:
        """Compiles `programs.decode` for a bucket that decodes, `programs.forward` for another one."""
        return self._decode(bucket) if bucket.decodes else self._forward(bucket)

    def sampler(self, bucket: Bucket) -> jax.stages.Compiled:
        """Compiles `programs.draw` for mixed steps with as many rows as those of `bucket`."""
        shape = (bucket.rows, self.config.vocab_size)
        logits = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=self._logits_sharding)
        draw = jax.jit(partial(programs.draw, bucket), out_shardings=self._replicated, donate_argnums=1)
        return draw.lower(logits, self.kept, self._packed(bucket.draws_layout)).compile(self._options)

    def opener(self) -> jax.stages.Compiled:
        """Compiles `programs.open_slot`."""
        open_slot = jax.jit(programs.open_slot, out_shardings=self._replicated, donate_argnums=0)
        return open_slot.lower(self.kept, self.opened).compile(self._options)

    def adapter_loader(self) -> jax.stages.Compiled:
        """Compiles `with_adapter`."""
        shardings = {path: array.sharding for path, array in self.adapters.items()}
        load = jax.jit(with_adapter, out_shardings=shardings, donate_argnums=0)
        index = jax.ShapeDtypeStruct((), jnp.int32, sharding=self._replicated)
        return load.lower(self.adapters, index, abstract_adapter(self.adapters)).compile(self._options)

    def _decode(self, bucket: Bucket) -> jax.stages.Compiled:
        decode = jax.jit(
            self._program(programs.decode, bucket),
            out_shardings=(self._replicated, self._replicated, self.cache[0].sharding),
            donate_argnums=(1, 2),
        )
        tokens, draws = self._packed(bucket.tokens_layout), self._packed(bucket.draws_layout)
        return decode.lower(self._values, self.cache, self.kept, tokens, draws).compile(self._options)

    def _forward(self, bucket: Bucket) -> jax.stages.Compiled:
        forward = jax.jit(
            self._program(programs.forward, bucket),
            out_shardings=(self._logits_sharding, self.cache[0].sharding),
            donate_argnums=1,
        )
        tokens = self._packed(bucket.tokens_layout)
        return forward.lower(self._values, self.cache, self.kept, tokens).compile(self._options)

    def _program[R](self, program: Callable[..., R], bucket: Bucket) -> Callable[..., R]:
        """One of `sharding.programs` for a bucket, with all weights as a list: `parameters`, then `adapters`.

        A dictionary of them takes JAX 15 µs more in every launch.
        """

        def run(values: list[Weight], *arguments: object) -> R:
            parameters = dict(zip((*self.parameters, *self.adapters), values, strict=True))
            return program(self.config, self.attention, bucket, parameters, *arguments)

        run.__name__ = program.__name__  # of the compiled module, too
        return run

    @property
    def _values(self) -> list[AbstractWeight]:
        return [*self.parameters.values(), *self.adapters.values()]

    def _packed(self, layout: Layout) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((layout.size,), jnp.int32, sharding=self._replicated)

    @property
    def _options(self) -> Options:
        return compiler_options(self.mesh.devices.flat[0].platform, self.config.quantization)

    @property
    def _replicated(self) -> NamedSharding:
        return named_sharding((), self.config, self.mesh)

    @property
    def _logits_sharding(self) -> NamedSharding:
        return named_sharding(("B", "V"), self.config, self.mesh)
