"""Attention in plain JAX, for any device: reads the pages block by block, with softmax in float32.

Its cost follows the real lengths, while the compiled shapes do not depend on them: loops run over as many blocks of
the KV cache as the longest row has. Blocks lie at absolute positions, and a block that a row does not see changes
none of that row's numbers, so a row's result never depends on the rest of the batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sharding.attention.interleaved import interleaved_shape, write_kv
from sharding.attention.protocol import Ragged

_QUERY_BLOCK = 32
_KV_BLOCK = 128
_MASKED = -1e30


class ReferenceAttention:
    """Implements `sharding.attention.AttentionImplementation`."""

    cache_shape = staticmethod(interleaved_shape)

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
        """See `sharding.attention.Attention`."""
        num_tokens, num_heads, head_dim = q.shape
        kv_heads = k.shape[1]
        cache = write_kv(cache, k, v, ragged)
        kv = _BlockedCache.of(cache, ragged.page_table)
        queries = (q * scale).reshape(num_tokens, kv_heads, num_heads // kv_heads, head_dim)
        if num_tokens == ragged.kv_lens.shape[0]:  # a decode step: every row has one token
            out = _attend_single(queries, kv, ragged.kv_lens, window)
        else:
            single = ragged.q_lens == 1
            first = ragged.cu_q_lens[:-1]
            out_single = _attend_single(queries[first], kv, jnp.where(single, ragged.kv_lens, 0), window)
            out = _attend_several(queries, kv, ragged, window)
            out = out.at[jnp.where(single, first, num_tokens)].set(out_single, mode="drop")
        return out.reshape(q.shape), cache


class _BlockedCache(NamedTuple):
    """The KV cache seen through page tables as blocks of whole pages, about `_KV_BLOCK` tokens each.

    Attributes:
      cache: [P, page_size, 2 * K, D].
      page_table: int32 [B, pages_per_sequence], padded to whole blocks.
      pages_per_block: at least one.
    """

    cache: jax.Array
    page_table: jax.Array
    pages_per_block: int

    @classmethod
    def of(cls, cache: jax.Array, page_table: jax.Array) -> "_BlockedCache":
        pages = max(_KV_BLOCK // cache.shape[1], 1)
        return cls(cache, jnp.pad(page_table, ((0, 0), (0, -page_table.shape[1] % pages))), pages)

    @property
    def block_size(self) -> int:
        return self.pages_per_block * self.cache.shape[1]

    def row(self, index: jax.Array) -> "_BlockedCache":
        return self._replace(page_table=lax.dynamic_slice_in_dim(self.page_table, index, 1))

    def read(self, block: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns keys and values, [B, S, K, D] each, and their positions [S], for S = block_size."""
        pages = lax.dynamic_slice_in_dim(self.page_table, block * self.pages_per_block, self.pages_per_block, axis=1)
        rows, (_, _, twice_heads, head_dim) = pages.shape[0], self.cache.shape
        kv = self.cache[pages].reshape(rows, self.block_size, twice_heads // 2, 2, head_dim)
        return kv[..., 0, :], kv[..., 1, :], block * self.block_size + jnp.arange(self.block_size)


class _Softmax(NamedTuple):
    """Running softmax-weighted sum over KV blocks in float32 (online softmax, arXiv 1805.02867).

    Attributes:
      maximum: [...] of the scores so far.
      total: [...], the sum of exp(score - maximum).
      weighted: [..., D], the sum of exp(score - maximum) * value.
    """

    maximum: jax.Array
    total: jax.Array
    weighted: jax.Array

    @classmethod
    def empty(cls, *shape: int) -> "_Softmax":
        return cls(jnp.full(shape[:-1], _MASKED), jnp.zeros(shape[:-1]), jnp.zeros(shape))

    def add(self, scores: jax.Array, visible: jax.Array, weigh_values: Callable[[jax.Array], jax.Array]) -> "_Softmax":
        """Adds a block: scores [..., S], a mask that broadcasts to it, weights [..., S] -> sum of values [..., D]."""
        scores = jnp.where(visible, scores, _MASKED)
        maximum = jnp.maximum(self.maximum, scores.max(-1))
        kept = jnp.exp(self.maximum - maximum)  # exactly 1 where nothing is visible
        weights = jnp.where(visible, jnp.exp(scores - maximum[..., None]), 0)
        return _Softmax(
            maximum, self.total * kept + weights.sum(-1), self.weighted * kept[..., None] + weigh_values(weights)
        )

    def result(self) -> jax.Array:
        """The weighted mean [..., D]; zero where nothing was visible."""
        return self.weighted / jnp.where(self.total > 0, self.total, 1)[..., None]


def _einsum(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """A product of operands in the dtype of `b`, summed in float32."""
    return jnp.einsum(
        equation, a.astype(b.dtype), b, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )


def _attend_single(q: jax.Array, kv: _BlockedCache, lens: jax.Array, window: int | None) -> jax.Array:
    """Attention of one query per row, at the last position of the row: [B, K, G, D] -> [B, K, G, D]; length 0: zero."""
    oldest = jnp.zeros_like(lens) if window is None else jnp.maximum(lens - window, 0)
    longest = lens.max()
    first = jnp.where(lens > 0, oldest, longest).min() // kv.block_size

    def step(block: jax.Array, softmax: _Softmax) -> _Softmax:
        k, v, positions = kv.read(block)
        visible = (positions >= oldest[:, None]) & (positions < lens[:, None])
        scores = _einsum("bskd,bkgd->bksg", k, q)  # keys first: on CPUs the other order copies them transposed
        scores = jnp.swapaxes(scores, -1, -2)
        return softmax.add(scores, visible[:, None, None], lambda weights: _einsum("bkgs,bskd->bkgd", weights, v))

    softmax: _Softmax = lax.fori_loop(first, _ceil_divide(longest, kv.block_size), step, _Softmax.empty(*q.shape))
    return softmax.result().astype(q.dtype)


def _attend_several(q: jax.Array, kv: _BlockedCache, ragged: Ragged, window: int | None) -> jax.Array:
    """Attention of the rows with several queries: [T, K, G, D] -> [T, K, G, D]; zero for all other tokens.

    The work is a list of (row, block of its queries), whose length is data.
    """
    num_tokens, kv_heads, group, head_dim = q.shape
    blocks = jnp.where(ragged.q_lens > 1, _ceil_divide(ragged.q_lens, _QUERY_BLOCK), 0)
    ends = jnp.cumsum(blocks)
    padded_q = jnp.pad(q, ((0, _QUERY_BLOCK), (0, 0), (0, 0), (0, 0)))  # so that no slice is moved back at the end

    def work(item: jax.Array, out: jax.Array) -> jax.Array:
        row = jnp.searchsorted(ends, item, side="right", method="compare_all")
        done = (item - (ends - blocks)[row]) * _QUERY_BLOCK
        token = ragged.cu_q_lens[row] + done
        count = jnp.minimum(ragged.q_lens[row] - done, _QUERY_BLOCK)
        queries = lax.dynamic_slice_in_dim(padded_q, token, _QUERY_BLOCK)
        start = ragged.kv_lens[row] - ragged.q_lens[row] + done
        newest = (start + jnp.arange(_QUERY_BLOCK))[:, None]
        oldest = jnp.zeros_like(newest) if window is None else jnp.maximum(newest - window + 1, 0)
        row_kv = kv.row(row)

        def step(block: jax.Array, softmax: _Softmax) -> _Softmax:
            k, v, positions = row_kv.read(block)
            visible = (positions >= oldest) & (positions <= newest)
            scores = _einsum("qkgd,skd->kgqs", queries, k[0])
            return softmax.add(scores, visible, lambda weights: _einsum("kgqs,skd->kgqd", weights, v[0]))

        first, end = oldest[0, 0] // kv.block_size, _ceil_divide(start + count, kv.block_size)
        softmax = lax.fori_loop(first, end, step, _Softmax.empty(kv_heads, group, _QUERY_BLOCK, head_dim))
        result = softmax.result().transpose(2, 0, 1, 3).astype(out.dtype)
        mine = (jnp.arange(_QUERY_BLOCK) < count)[:, None, None, None]
        result = jnp.where(mine, result, lax.dynamic_slice_in_dim(out, token, _QUERY_BLOCK))
        return lax.dynamic_update_slice_in_dim(out, result, token, 0)

    out: jax.Array = lax.fori_loop(0, ends[-1], work, jnp.zeros_like(padded_q))
    return out[:num_tokens]


def _ceil_divide(a: jax.Array, b: int) -> jax.Array:
    return (a + b - 1) // b
