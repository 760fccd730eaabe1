"""The model: Gemma 1 and Gemma 3 text decoders, told apart by `GemmaConfig` alone.

A step is a ragged batch of tokens (`sharding.attention.Ragged`); keys and values live in the paged cache.
Parameters keep the layout of checkpoints: projections are `[out, in]`, norms hold w of the factor 1 + w.
Activations have the dtype of the parameters; norms, rotations and softmax are computed in float32.
"""

import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from sharding.attention import Attention, Ragged
from sharding.config import GemmaConfig
from sharding.partition import named_sharding


class Rotation(NamedTuple):
    """Rotary position embedding (arXiv 2104.09864), pairing element i with i + D / 2; in float32.

    Attributes:
      cos: [T, 1, D / 2].
      sin: [T, 1, D / 2].
    """

    cos: jax.Array
    sin: jax.Array

    @classmethod
    def at(cls, positions: jax.Array, head_dim: int, theta: float, scale: float = 1.0) -> "Rotation":
        """The rotation at `positions / scale`, int32 [T], with base `theta`."""
        half = head_dim // 2
        frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
        angles = (positions.astype(jnp.float32) / scale)[:, None, None] * frequencies
        return cls(jnp.cos(angles), jnp.sin(angles))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Rotates [T, heads, D]."""
        a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
        return jnp.concatenate([a * self.cos - b * self.sin, b * self.cos + a * self.sin], axis=-1).astype(x.dtype)


class Gemma(nnx.Module):
    """A decoder-only transformer with tied embeddings."""

    def __init__(self, config: GemmaConfig, dtype: DTypeLike) -> None:
        """Creates the model with zeros for parameters; `build` makes one with real ones."""
        self.config = config
        self.embedder = Embedder(config, dtype)
        self.layers = nnx.List([Layer(config, config.window(index), dtype) for index in range(config.num_layers)])
        self.final_norm = _parameter(config, dtype, "E")

    def __call__(
        self, token_ids: jax.Array, cache: list[jax.Array], ragged: Ragged, attention: Attention
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Runs a step: token ids [T] to the final hidden states [T, E], and the new cache."""
        x = self.embedder.encode(token_ids)
        rotations = self._rotations(ragged.positions(token_ids.shape[0]))
        new_cache = []
        for layer, layer_cache in zip(self.layers, cache, strict=True):
            rotation = rotations[layer.window is not None]
            x, layer_cache = _run_layer(*nnx.split(layer), x, rotation, layer_cache, ragged, attention)
            new_cache.append(layer_cache)
        return rms_norm(x, self.final_norm[...], self.config.rms_norm_eps), new_cache

    def logits(self, x: jax.Array) -> jax.Array:
        """Returns the logits of the next token for hidden states [B, E]: float32 [B, V]."""
        return self.embedder.decode(x)

    def _rotations(self, positions: jax.Array) -> tuple[Rotation, Rotation]:
        """The rotations of global and of local layers."""
        config = self.config
        global_rotation = Rotation.at(positions, config.head_dim, config.rope_theta, config.rope_scale)
        local_rotation = Rotation.at(positions, config.head_dim, config.local_rope_theta)
        # Without the barrier, XLA computes sines and cosines again in every layer.
        rotations: tuple[Rotation, Rotation] = lax.optimization_barrier((global_rotation, local_rotation))
        return rotations


class Embedder(nnx.Module):
    """Token embeddings, used for input and output."""

    def __init__(self, config: GemmaConfig, dtype: DTypeLike) -> None:
        self.weight = _parameter(config, dtype, "VE")

    def encode(self, token_ids: jax.Array) -> jax.Array:
        """[T] -> [T, E], times sqrt(E) rounded to the dtype, as Gemma was trained."""
        weight = self.weight[...]
        return weight[token_ids] * jnp.asarray(math.sqrt(weight.shape[1]), weight.dtype)

    def decode(self, x: jax.Array) -> jax.Array:
        """[B, E] -> float32 [B, V]."""
        return project(self.weight[...], x, dtype=jnp.float32)


class Layer(nnx.Module):
    """Attention and MLP, each with its norms and added to the residual stream."""

    def __init__(self, config: GemmaConfig, window: int | None, dtype: DTypeLike) -> None:
        self.config = config
        self.window = window
        self.pre_attention_norm = _parameter(config, dtype, "E")
        self.attention = AttentionLayer(config, window, dtype)
        self.pre_mlp_norm = _parameter(config, dtype, "E")
        self.mlp = Mlp(config, dtype)
        if config.post_norms:
            self.post_attention_norm = _parameter(config, dtype, "E")
            self.post_mlp_norm = _parameter(config, dtype, "E")

    def __call__(
        self, x: jax.Array, rotation: Rotation, cache: jax.Array, ragged: Ragged, attention: Attention
    ) -> tuple[jax.Array, jax.Array]:
        """[T, E] -> [T, E], and the new cache of this layer."""
        eps = self.config.rms_norm_eps
        y, cache = self.attention(rms_norm(x, self.pre_attention_norm[...], eps), rotation, cache, ragged, attention)
        x += rms_norm(y, self.post_attention_norm[...], eps) if self.config.post_norms else y
        y = self.mlp(rms_norm(x, self.pre_mlp_norm[...], eps))
        x += rms_norm(y, self.post_mlp_norm[...], eps) if self.config.post_norms else y
        return x, cache


@partial(jax.jit, static_argnames=("graph", "attention"))  # traced once for all layers alike, not for each
def _run_layer(
    graph: nnx.GraphDef[Layer],
    state: nnx.State[Any, Any],
    x: jax.Array,
    rotation: Rotation,
    cache: jax.Array,
    ragged: Ragged,
    attention: Attention,
) -> tuple[jax.Array, jax.Array]:
    layer: Layer = nnx.merge(graph, state)
    return layer(x, rotation, cache, ragged, attention)


class AttentionLayer(nnx.Module):
    """Projections, rotation and norms around an `Attention` implementation."""

    def __init__(self, config: GemmaConfig, window: int | None, dtype: DTypeLike) -> None:
        self.config = config
        self.window = window
        self.q = _parameter(config, dtype, "NDE")
        self.k = _parameter(config, dtype, "KDE")
        self.v = _parameter(config, dtype, "KDE")
        self.o = _parameter(config, dtype, "END")
        if config.qk_norm:
            self.q_norm = _parameter(config, dtype, "D")
            self.k_norm = _parameter(config, dtype, "D")

    def __call__(
        self, x: jax.Array, rotation: Rotation, cache: jax.Array, ragged: Ragged, attention: Attention
    ) -> tuple[jax.Array, jax.Array]:
        """[T, E] -> [T, E], and the new cache of this layer."""
        config = self.config
        q, k, v = (project(weight[...], x) for weight in (self.q, self.k, self.v))
        if config.qk_norm:
            q = rms_norm(q, self.q_norm[...], config.rms_norm_eps)
            k = rms_norm(k, self.k_norm[...], config.rms_norm_eps)
        out, cache = attention(rotation(q), rotation(k), v, cache, ragged, scale=config.query_scale, window=self.window)
        return project(self.o[...], out), cache


class Mlp(nnx.Module):
    """GeGLU: down(gelu(gate(x)) * up(x)), with the tanh approximation of GELU in every Gemma."""

    def __init__(self, config: GemmaConfig, dtype: DTypeLike) -> None:
        self.gate = _parameter(config, dtype, "FE")
        self.up = _parameter(config, dtype, "FE")
        self.down = _parameter(config, dtype, "EF")

    def __call__(self, x: jax.Array) -> jax.Array:
        """[T, E] -> [T, E]."""
        hidden = jax.nn.gelu(project(self.gate[...], x), approximate=True) * project(self.up[...], x)
        return project(self.down[...], hidden)


def project(weight: jax.Array, x: jax.Array, *, dtype: DTypeLike | None = None) -> jax.Array:
    """Applies a projection: weight [*out, *in], x [T, *in] -> [T, *out] in `dtype`, by default that of x.

    On CPUs the weight is the left operand and the small result is transposed: XLA then streams `[out, in]` weights up
    to 2.5 times faster for 2 to 16 tokens. The barrier keeps it from turning that around.
    """
    inputs = x.ndim - 1
    contracted = (tuple(range(weight.ndim - inputs, weight.ndim)), tuple(range(1, x.ndim)))
    product = lax.dot_general(
        weight,
        x,
        (contracted, ((), ())),
        precision=lax.Precision.HIGHEST,  # float32 stays float32 on GPU and TPU; no effect on bfloat16
        preferred_element_type=x.dtype if dtype is None else dtype,
    )
    product = lax.platform_dependent(product, cpu=lax.optimization_barrier, default=lambda product: product)
    return jnp.moveaxis(product, -1, 0)


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """RMSNorm over the last axis with factor 1 + weight: float32 throughout, rounded last."""
    y = x.astype(jnp.float32)
    y *= lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    return (y * (1 + weight.astype(jnp.float32))).astype(x.dtype)


def _parameter(config: GemmaConfig, dtype: DTypeLike, axes: str) -> nnx.Param[jax.Array]:
    """A parameter of zeros; `axes` names each axis by its letter, see `sharding`."""
    sizes = {
        "V": config.vocab_size,
        "E": config.embed_dim,
        "F": config.mlp_dim,
        "N": config.num_heads,
        "K": config.num_kv_heads,
        "D": config.head_dim,
    }
    return nnx.Param(jnp.zeros([sizes[axis] for axis in axes], dtype), axes=axes)


def abstract_parameters(config: GemmaConfig, mesh: Mesh, dtype: DTypeLike) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shape, dtype and sharding of each parameter by its path, such as `layers.0.attention.q`."""
    return {
        path: jax.ShapeDtypeStruct(
            parameter.shape, parameter.dtype, sharding=named_sharding(parameter.axes, config, mesh)
        )
        for path, parameter in _flat_state(config, jnp.dtype(dtype))[1].items()
    }


def build(config: GemmaConfig, parameters: Mapping[str, jax.Array]) -> Gemma:
    """Returns the model with these parameters, named as in `abstract_parameters`."""
    graph, state = _flat_state(config, parameters["embedder.weight"].dtype)
    if missing := sorted(state.keys() ^ parameters.keys()):
        raise ValueError(f"parameters do not fit the model: {', '.join(missing)} is missing or unknown.")
    filled = [(_path(name), variable.replace(parameters[name])) for name, variable in state.items()]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def _path(name: str) -> tuple[str | int, ...]:
    """The path that nnx knows a parameter by. Layers by number: as text, the tenth would sort before the second."""
    return tuple(int(part) if part.isdecimal() else part for part in name.split("."))


def random_parameters(config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, seed: int = 0) -> dict[str, jax.Array]:
    """Returns parameters drawn so that activations keep their scale; for tests and benchmarks."""
    parameters = {}
    for index, (path, spec) in enumerate(abstract_parameters(config, mesh, dtype).items()):
        scale = spec.shape[-1] ** -0.5 if len(spec.shape) > 1 else 0.1
        parameters[path] = _random(jax.random.key(seed, impl="rbg"), index, scale, spec)
    return parameters


@partial(jax.jit, static_argnames="spec")
def _random(key: jax.Array, index: int, scale: float, spec: jax.ShapeDtypeStruct) -> jax.Array:
    values = scale * jax.random.normal(jax.random.fold_in(key, index), spec.shape)
    constrained: jax.Array = lax.with_sharding_constraint(values.astype(spec.dtype), spec.sharding)
    return constrained


@cache
def _flat_state(config: GemmaConfig, dtype: jnp.dtype) -> tuple[nnx.GraphDef[Gemma], dict[str, nnx.Param[jax.Array]]]:
    graph, state = nnx.split(nnx.eval_shape(lambda: Gemma(config, dtype)))
    return graph, {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}
