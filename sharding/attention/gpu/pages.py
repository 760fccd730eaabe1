"""Reading and writing one KV head in the paged cache, from inside a kernel."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton


class Pages(NamedTuple):
    """One KV head of one sequence in the cache.

    Attributes:
      cache: ref to [P, page_size, 2 * K, D], see `sharding.attention.interleaved`.
      page_table: ref to int32 [B, pages_per_sequence].
      row: of the page table.
      head: which KV head.
    """

    cache: Any
    page_table: Any
    row: jax.Array
    head: jax.Array

    def read(self, positions: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns keys and values [S, D] at positions [S]; those not `present` [S] are zero, and not read."""
        places = self._places(positions, present)
        k, v = (load_rows(self.cache, (*places, 2 * self.head + which), present) for which in (0, 1))
        return k, v

    def write(self, positions: jax.Array, present: jax.Array, k: jax.Array, v: jax.Array) -> None:
        """Stores keys and values [S, D] at those of the positions [S] that are `present` [S]."""
        places = self._places(positions, present)
        for which, rows in enumerate((k, v)):
            store_rows(self.cache, (*places, 2 * self.head + which), present, rows)

    def _places(self, positions: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Pages and slots in them, [S] each; where a position is not present, the page does not exist."""
        num_pages, page_size = self.cache.shape[:2]
        positions = jnp.where(present, positions, 0)
        page = lax.div(positions, jnp.int32(page_size))
        page = triton.load(self.page_table.at[self.row, page], mask=present, other=num_pages)
        return page, lax.rem(positions, jnp.int32(page_size))


type Index = tuple[jax.Array, ...]
"""All but the last axis of an array: scalars and [S]."""


def load_rows(ref: Any, index: Index, present: jax.Array) -> jax.Array:
    """Returns [S, D] from a ref to [..., D]; zero where a row is not `present` [S]."""
    return triton.load(_rows(ref, index), mask=_broadcast(present, ref), other=0)


def store_rows(ref: Any, index: Index, present: jax.Array, rows: jax.Array) -> None:
    """Stores those of the rows [S, D] that are `present` [S] to a ref to [..., D]."""
    triton.store(_rows(ref, index), rows.astype(ref.dtype), mask=_broadcast(present, ref))


def _rows(ref: Any, index: Index) -> Any:
    columns = jnp.arange(ref.shape[-1])[None]
    return ref.at[(*(i[:, None] if jnp.ndim(i) else i for i in index), columns)]


def _broadcast(present: jax.Array, ref: Any) -> jax.Array:
    return jnp.broadcast_to(present[:, None], (present.size, ref.shape[-1]))
