"""The KV cache of plain XLA and of GPUs: `[P, page_size, 2 * K, D]`, keys and values interleaved: K0, V0, K1, ..."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from sharding.attention.protocol import Ragged


def interleaved_shape(
    num_pages: int, page_size: int, kv_heads: int, head_dim: int, dtype: DTypeLike
) -> tuple[int, ...]:
    """See `sharding.attention.AttentionImplementation.cache_shape`."""
    return num_pages, page_size, 2 * kv_heads, head_dim


def write_kv(cache: jax.Array, k: jax.Array, v: jax.Array, ragged: Ragged) -> jax.Array:
    """Writes the keys and values of a step, `[T, K, D]` each, to their places; padding tokens go nowhere."""
    num_tokens, kv_heads, head_dim = k.shape
    num_pages, page_size = cache.shape[:2]
    rows = ragged.token_rows(num_tokens)
    positions = ragged.positions(num_tokens)
    pages = ragged.page_table.at[rows, positions // page_size].get(mode="fill", fill_value=num_pages)
    interleaved = jnp.stack([k, v], axis=2).reshape(num_tokens, 2 * kv_heads, head_dim)
    return cache.at[pages, positions % page_size].set(interleaved.astype(cache.dtype), mode="drop")
