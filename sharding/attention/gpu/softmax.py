"""The softmax that the GPU kernels carry from block to block of keys: plain arrays in a program's registers."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton

LOG2E = math.log2(math.e)
"""GPUs have an instruction for powers of 2: scores are multiplied by this once and stay in base 2."""
MASKED = -1e30
"""The score of a key that a query does not see: finite, so that no difference of scores is NaN."""


class Softmax(NamedTuple):
    """Running softmax-weighted sum of values in float32 (online softmax, arXiv 1805.02867), in base 2.

    Attributes:
      maximum: [M] of the scores so far.
      total: [M], the sum of 2 ** (score - maximum).
      weighted: [M, D], the sum of 2 ** (score - maximum) * value.
    """

    maximum: jax.Array
    total: jax.Array
    weighted: jax.Array

    @classmethod
    def empty(cls, queries: int, head_dim: int) -> "Softmax":
        return cls(
            jnp.full(queries, MASKED, jnp.float32),
            jnp.zeros(queries, jnp.float32),
            jnp.zeros((queries, head_dim), jnp.float32),
        )

    @classmethod
    def of_one(cls, q: jax.Array, k: jax.Array, v: jax.Array, scale: float) -> "Softmax":
        """Every query [M, D] sees one key [D] and its value [D]."""
        scores = (q.astype(jnp.float32) * k.astype(jnp.float32)[None]).sum(1) * (scale * LOG2E)
        return cls(scores, jnp.ones_like(scores), jnp.broadcast_to(v.astype(jnp.float32)[None], q.shape))

    def add(self, q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, scale: float) -> "Softmax":
        """Adds a block: queries [M, D], keys and values [S, D], and a mask [M, S] or [1, S]; v is finite everywhere."""
        scores = jnp.where(visible, _dot(q, k, transposed=True) * (scale * LOG2E), MASKED)
        maximum = jnp.maximum(self.maximum, scores.max(1))
        kept = jnp.exp2(self.maximum - maximum)  # exactly 1 where nothing is visible
        weights = jnp.where(visible, jnp.exp2(scores - maximum[:, None]), 0)
        return Softmax(
            maximum,
            self.total * kept + weights.sum(1),
            self.weighted * kept[:, None] + _dot(weights.astype(v.dtype), v),
        )

    def merge(self, mean: jax.Array, log_total: jax.Array) -> "Softmax":
        """Adds what another softmax found: its `mean` [M, D] and `log_total` [M]."""
        maximum = jnp.maximum(self.maximum, log_total)
        kept, added = jnp.exp2(self.maximum - maximum), jnp.exp2(log_total - maximum)
        return Softmax(maximum, self.total * kept + added, self.weighted * kept[:, None] + mean * added[:, None])

    def mean(self) -> jax.Array:
        """The weighted mean [M, D] of the values; zero where nothing was visible."""
        return self.weighted / jnp.where(self.total > 0, self.total, 1)[:, None]

    def log_total(self) -> jax.Array:
        """The logarithm [M] of the sum of 2 ** score."""
        return self.maximum + jnp.log2(self.total)


def _dot(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """A product summed in float32; float32 operands stay float32."""
    product: jax.Array = triton.dot(a, b, trans_b=transposed, precision=lax.Precision.HIGHEST)
    return product
