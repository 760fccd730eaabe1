"""Weights on devices: plain arrays, or quantised ones, which are leaves of the model's parameters like those."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sharding.quantization import Quantization

type Weight = jax.Array | QuantisedWeight[jax.Array]
type AbstractWeight = jax.ShapeDtypeStruct | QuantisedWeight[jax.ShapeDtypeStruct]
"""Shape, dtype and sharding of a weight; of both arrays of a quantised one."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuantisedWeight[A: (jax.Array, jax.ShapeDtypeStruct)]:
    """A matrix of few bits.

    Attributes:
      values: int8 or int4, [*out, *in].
      scales: float32 [*out], or [*out, *in] with the last axis in groups; see `sharding.quantization`.
      quantization: what of a projection is quantised.
      dtype: of the numbers that it stands for, and of activations.
    """

    values: A
    scales: A
    quantization: Quantization = field(metadata={"static": True})
    dtype: np.dtype[Any] = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """[*out, *in]."""
        shape: tuple[int, ...] = self.values.shape
        return shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AdaptedWeight:
    """A matrix W that is W + B A for each token, with A and B of the token's adapter (LoRA, arXiv 2106.09685).

    Attributes:
      weight: W, [*out, *in].
      a: [S, R, *in], of S adapters.
      b: [*out, S, R]; alpha / rank is part of it.
      chosen: bool [S, T], whether a token is computed with an adapter; with one of them at most.
    """

    weight: Weight
    a: jax.Array
    b: jax.Array
    chosen: jax.Array


def rows(weight: Weight, index: jax.Array) -> jax.Array:
    """Returns rows of the first axis as numbers: int32 [T] -> [T, *rest]."""
    if isinstance(weight, QuantisedWeight):
        return dequantise(weight.values[index], weight.scales[index], weight.dtype)
    return weight[index]


def dequantise(values: jax.Array, scales: jax.Array, dtype: np.dtype[Any]) -> jax.Array:
    """Returns values [*out, *in] times their scales, [*out] or [*out, *in] with the last axis in groups."""
    numbers = values.astype(jnp.float32)
    if scales.ndim == values.ndim:
        numbers = numbers.reshape(*scales.shape, -1) * scales[..., None]
    else:
        numbers *= scales.reshape(*scales.shape, *(1,) * (values.ndim - scales.ndim))
    return numbers.astype(dtype).reshape(values.shape)
