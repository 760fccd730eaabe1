"""Cutting a sequence into parts that different programs read (flash-decoding, arXiv 2311.01282)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl


class Splits(NamedTuple):
    """How a range of cached positions is divided, equally in whole blocks.

    Attributes:
      first: the first of the positions.
      end: one past the last of them.
      span: positions in one split; the last one may have fewer.
      used: how many splits there are, at least one, which may be empty.
    """

    first: jax.Array
    end: jax.Array
    span: jax.Array
    used: jax.Array

    @classmethod
    def of(cls, first: jax.Array, end: jax.Array, *, shortest: int, most: int) -> "Splits":
        """Splits of `shortest` positions each, or of a multiple of that where they would be more than `most`."""
        length = jnp.maximum(end - first, 0)
        span = jnp.maximum(pl.cdiv(length, most * shortest), 1) * shortest
        return cls(first, end, span, jnp.maximum(pl.cdiv(length, span), 1))

    def bounds(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The first position of a split, and one past its last."""
        start = self.first + index * self.span
        return start, jnp.minimum(start + self.span, self.end)
