"""What every attention implementation takes and returns: rows of different lengths over a paged KV cache.

The contract is that of `tokamax.ops.ragged_paged_attention`.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class Ragged(NamedTuple):
    """The rows of one step, of different lengths, back to back in arrays of T tokens.

    Row b owns tokens `cu_q_lens[b]` to `cu_q_lens[b + 1]`, the last ones of the `kv_lens[b]` tokens that its sequence
    has once this step is done. Unused rows have no tokens and length 0; tokens from `cu_q_lens[-1]` on are padding.
    T == B is a decode step: row b has the one token b, or none.

    Attributes:
      page_table: int32 [B, pages_per_sequence]; the pages of each row's sequence, in order.
      kv_lens: int32 [B].
      cu_q_lens: int32 [B + 1].
    """

    page_table: jax.Array
    kv_lens: jax.Array
    cu_q_lens: jax.Array

    @property
    def q_lens(self) -> jax.Array:
        """Tokens of each row in this step: int32 [B]."""
        return jnp.diff(self.cu_q_lens)

    def token_rows(self, num_tokens: int) -> jax.Array:
        """The row of each token: int32 [T]; B for padding."""
        return jnp.searchsorted(self.cu_q_lens[1:], jnp.arange(num_tokens), side="right", method="compare_all")

    def positions(self, num_tokens: int) -> jax.Array:
        """The position of each token in its sequence: int32 [T]; meaningless for padding."""
        rows = self.token_rows(num_tokens)
        return jnp.arange(num_tokens) - self.cu_q_lens[rows] + (self.kv_lens - self.q_lens)[rows]


class Attention(Protocol):
    """Causal attention of one layer on one device, with that device's heads."""

    def __call__(
        self,
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        cache: jax.Array,
        ragged: Ragged,
        *,
        scale: float,
        window: int | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Writes `k` and `v` to the cache, then attends to everything up to each query's own position.

        Args:
          q: [T, N, D]; query head n reads KV head n // (N // K).
          k: [T, K, D].
          v: [T, K, D].
          cache: of one layer, in the shape of `AttentionImplementation.cache_shape`.
          ragged: which tokens belong together, and where their keys and values are.
          scale: factor on the queries.
          window: a query sees this many positions, its own included; None: all.

        Returns:
          The output [T, N, D], unspecified for padding tokens, and the new cache.
        """
        ...


class AttentionImplementation(Attention, Protocol):
    """Attention for one kind of device, with the layout of the KV cache that is native to it."""

    def cache_shape(
        self, num_pages: int, page_size: int, kv_heads: int, head_dim: int, dtype: DTypeLike
    ) -> tuple[int, ...]:
        """Returns the shape of one layer's cache on one device: `[P, page_size, ...]`.

        Axis 2 counts KV heads in their order, in any unit: the cache of several devices is split along it.

        Args:
          num_pages: P.
          page_size: positions in a page.
          kv_heads: K of this device.
          head_dim: D.
          dtype: of keys and values.
        """
        ...
