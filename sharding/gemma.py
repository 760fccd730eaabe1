"""The model: Gemma 1 and Gemma 3 text decoders, told apart by `GemmaConfig` alone.

A step is a ragged batch of tokens (`sharding.attention.Ragged`); keys and values live in the paged cache.
Parameters keep the layout of checkpoints: projections are `[out, in]`, norms hold w of the factor 1 + w.
Activations have the dtype of the parameters; norms, rotations and softmax are computed in float32.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from sharding.attention import Attention, Ragged
from sharding.config import GemmaConfig
from sharding.parameters import LORA_A, LORA_B, Parameter, adapter_parameters, parameters
from sharding.partition import placement
from sharding.projection import project
from sharding.quantise import dtype_of
from sharding.weights import AbstractWeight, AdaptedWeight, QuantisedWeight, Weight, rows

type LayerWeight = Weight | AdaptedWeight


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

    def __init__(self, config: GemmaConfig, weights: Mapping[str, Weight]) -> None:
        """Builds the model from its weights by path, as `abstract_parameters` names them."""
        self.config = config
        self.embedder = Embedder(weights["embedder.weight"])
        # Each layer is built where it runs, so that one trace serves all layers alike.
        self.layers = nnx.data([_below(f"layers.{index}.", weights) for index in range(config.num_layers)])
        self.final_norm = _array(weights, "final_norm")

    def __call__(
        self,
        token_ids: jax.Array,
        cache: list[jax.Array],
        ragged: Ragged,
        attention: Attention,
        adapters: jax.Array | None = None,
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Runs a step: token ids [T] to the final hidden states [T, E], and the new cache.

        `adapters` is `AdaptedWeight.chosen` where the model has adapters.
        """
        config = self.config
        x = self.embedder.encode(token_ids)
        rotations = self._rotations(ragged.positions(token_ids.shape[0]))
        new_cache = []
        for index, (weights, layer_cache) in enumerate(zip(self.layers, cache, strict=True)):
            window = config.window(index)
            rotation = rotations[window is not None]
            x, layer_cache = _run_layer(config, window, attention, weights, adapters, x, rotation, layer_cache, ragged)
            new_cache.append(layer_cache)
        return rms_norm(x, self.final_norm, config.rms_norm_eps), new_cache

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

    def __init__(self, weight: Weight) -> None:
        """Takes the embeddings [V, E]."""
        self.weight = weight

    def encode(self, token_ids: jax.Array) -> jax.Array:
        """[T] -> [T, E], times sqrt(E) rounded to the dtype, as Gemma was trained."""
        return rows(self.weight, token_ids) * jnp.asarray(math.sqrt(self.weight.shape[1]), self.weight.dtype)

    def decode(self, x: jax.Array) -> jax.Array:
        """[B, E] -> float32 [B, V]."""
        return project(self.weight, x, dtype=jnp.float32)


@partial(jax.jit, static_argnames=("config", "window", "attention"))
def _run_layer(
    config: GemmaConfig,
    window: int | None,
    attention: Attention,
    weights: Mapping[str, Weight],
    adapters: jax.Array | None,
    x: jax.Array,
    rotation: Rotation,
    cache: jax.Array,
    ragged: Ragged,
) -> tuple[jax.Array, jax.Array]:
    layer = Layer(config, window, weights if adapters is None else _adapted(weights, adapters))
    return layer(x, rotation, cache, ragged, attention)


def _adapted(weights: Mapping[str, Weight], chosen: jax.Array) -> dict[str, LayerWeight]:
    """Each weight together with its adapters, if it has any."""
    return {
        path: AdaptedWeight(weight, _array(weights, path + LORA_A), _array(weights, path + LORA_B), chosen)
        if path + LORA_A in weights
        else weight
        for path, weight in weights.items()
        if not path.endswith((LORA_A, LORA_B))
    }


class Layer(nnx.Module):
    """Attention and MLP, each with its norms and added to the residual stream."""

    def __init__(self, config: GemmaConfig, window: int | None, weights: Mapping[str, LayerWeight]) -> None:
        """Builds the layer from its weights by path below `layers.{i}.`."""
        self.config = config
        self.pre_attention_norm = _array(weights, "pre_attention_norm")
        self.attention = AttentionLayer(config, window, _below("attention.", weights))
        self.pre_mlp_norm = _array(weights, "pre_mlp_norm")
        self.mlp = Mlp(_below("mlp.", weights))
        if config.post_norms:
            self.post_attention_norm = _array(weights, "post_attention_norm")
            self.post_mlp_norm = _array(weights, "post_mlp_norm")

    def __call__(
        self, x: jax.Array, rotation: Rotation, cache: jax.Array, ragged: Ragged, attention: Attention
    ) -> tuple[jax.Array, jax.Array]:
        """[T, E] -> [T, E], and the new cache of this layer."""
        eps = self.config.rms_norm_eps
        y, cache = self.attention(rms_norm(x, self.pre_attention_norm, eps), rotation, cache, ragged, attention)
        x += rms_norm(y, self.post_attention_norm, eps) if self.config.post_norms else y
        y = self.mlp(rms_norm(x, self.pre_mlp_norm, eps))
        x += rms_norm(y, self.post_mlp_norm, eps) if self.config.post_norms else y
        return x, cache


class AttentionLayer(nnx.Module):
    """Projections, rotation and norms around an `Attention` implementation."""

    def __init__(self, config: GemmaConfig, window: int | None, weights: Mapping[str, LayerWeight]) -> None:
        """Builds it from its weights by path below `layers.{i}.attention.`."""
        self.config = config
        self.window = window
        self.q, self.k, self.v, self.o = (weights[name] for name in "qkvo")
        if config.qk_norm:
            self.q_norm, self.k_norm = _array(weights, "q_norm"), _array(weights, "k_norm")

    def __call__(
        self, x: jax.Array, rotation: Rotation, cache: jax.Array, ragged: Ragged, attention: Attention
    ) -> tuple[jax.Array, jax.Array]:
        """[T, E] -> [T, E], and the new cache of this layer."""
        config = self.config
        q, k, v = (project(weight, x) for weight in (self.q, self.k, self.v))
        if config.qk_norm:
            q = rms_norm(q, self.q_norm, config.rms_norm_eps)
            k = rms_norm(k, self.k_norm, config.rms_norm_eps)
        out, cache = attention(rotation(q), rotation(k), v, cache, ragged, scale=config.query_scale, window=self.window)
        return project(self.o, out), cache


class Mlp(nnx.Module):
    """GeGLU: down(gelu(gate(x)) * up(x)), with the tanh approximation of GELU in every Gemma."""

    def __init__(self, weights: Mapping[str, LayerWeight]) -> None:
        """Builds it from its weights by path below `layers.{i}.mlp.`."""
        self.gate, self.up, self.down = weights["gate"], weights["up"], weights["down"]

    def __call__(self, x: jax.Array) -> jax.Array:
        """[T, E] -> [T, E]."""
        hidden = jax.nn.gelu(project(self.gate, x), approximate=True) * project(self.up, x)
        return project(self.down, hidden)


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """RMSNorm over the last axis with factor 1 + weight: float32 throughout, rounded last."""
    y = x.astype(jnp.float32)
    y *= lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    return (y * (1 + weight.astype(jnp.float32))).astype(x.dtype)


def _array(weights: Mapping[str, LayerWeight], path: str) -> jax.Array:
    """A norm, or a part of an adapter."""
    weight = weights[path]
    assert not isinstance(weight, QuantisedWeight | AdaptedWeight), f"{path} is no plain array."
    return weight


def _below[W: LayerWeight](prefix: str, weights: Mapping[str, W]) -> dict[str, W]:
    """The weights whose paths begin with `prefix`, by the rest of their paths."""
    return {path.removeprefix(prefix): weight for path, weight in weights.items() if path.startswith(prefix)}


def abstract_parameters(config: GemmaConfig, mesh: Mesh, dtype: DTypeLike) -> dict[str, AbstractWeight]:
    """Returns shape, dtype, sharding and format of each parameter by its path, such as `layers.0.attention.q`."""
    return {path: _abstract(parameter, config, mesh, dtype) for path, parameter in parameters(config).items()}


def abstract_adapters(
    config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, slots: int, rank: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the same of the adapters beside them, by path; see `adapter_parameters`."""
    table = adapter_parameters(config, slots, rank)
    return {
        path: jax.ShapeDtypeStruct(parameter.shape, dtype, sharding=placement(parameter.axes, config, mesh))
        for path, parameter in table.items()
    }


def _abstract(parameter: Parameter, config: GemmaConfig, mesh: Mesh, dtype: DTypeLike) -> AbstractWeight:
    def array(axes: str, shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=placement(axes, config, mesh))

    quantization = parameter.quantization
    if quantization is None:
        return array(parameter.axes, parameter.shape, dtype)
    values = array(parameter.axes, parameter.shape, dtype_of(quantization))
    scales = array(parameter.scales_axes, parameter.scales_shape, jnp.float32)
    return QuantisedWeight(values, scales, quantization, jnp.dtype(dtype))


def build(config: GemmaConfig, weights: Mapping[str, Weight]) -> Gemma:
    """Returns the model with these weights, named as in `abstract_parameters`, and beside them those of its adapters.

    Raises:
      ValueError: one is missing or unknown.
    """
    own = {path for path in weights if not path.endswith((LORA_A, LORA_B))}
    if missing := sorted(parameters(config).keys() ^ own):
        raise ValueError(f"parameters do not fit the model: {', '.join(missing)} is missing or unknown.")
    return Gemma(config, weights)


def random_parameters(config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, seed: int = 0) -> dict[str, Weight]:
    """Returns parameters drawn so that activations keep their scale; for tests and benchmarks."""
    key = jax.random.key(seed, impl="rbg")
    scales = {
        path: parameter.stored_shape[-1] ** -0.5 if parameter.outputs else 0.1
        for path, parameter in parameters(config).items()
    }
    weights: dict[str, Weight] = {}
    for index, (path, spec) in enumerate(abstract_parameters(config, mesh, dtype).items()):
        drawn = _random(jax.random.fold_in(key, index), scales[path], spec)
        weights[path] = jax.tree.map(lambda array, abstract: jax.device_put(array, abstract.format), drawn, spec)
    return weights


@partial(jax.jit, static_argnames=("scale", "spec"))
def _random(key: jax.Array, scale: float, spec: AbstractWeight) -> Weight:
    """Normal numbers of this standard deviation; of a quantised weight uniform ones."""
    if not isinstance(spec, QuantisedWeight):
        normal = scale * jax.random.normal(key, spec.shape)
        constrained: jax.Array = lax.with_sharding_constraint(normal.astype(spec.dtype), spec.sharding)
        return constrained
    maximum = spec.quantization.maximum
    values = jax.random.randint(key, spec.shape, -maximum, maximum + 1).astype(spec.values.dtype)
    values = lax.with_sharding_constraint(values, spec.values.sharding)
    scales = jnp.full(spec.scales.shape, scale * math.sqrt(3) / maximum, device=spec.scales.sharding)
    return QuantisedWeight(values, scales, spec.quantization, spec.dtype)
