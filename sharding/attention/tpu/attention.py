"""TokamaxAttention: tokamax's ragged paged attention, with kernels and blocks chosen for each shape of step."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from tokamax import ops
from tokamax._src.ops.batched_rpa.kernel.configs import BlockSizes, RpaCase

from sharding.attention.protocol import Ragged
from sharding.attention.tpu.blocks import Blocks, step_blocks
from sharding.attention.tpu.kernels import attend

_WORD_BYTES = 4


class TokamaxAttention:
    """Implements `sharding.attention.AttentionImplementation` with tokamax's kernels.

    They write the cache themselves, in one pass with reading it.
    """

    def __init__(self, implementation: Literal["mosaic_tpu", "reference"] = "mosaic_tpu") -> None:
        """`reference` is tokamax's own model of the kernel; it runs on any device."""
        self._implementation = implementation

    def cache_shape(
        self, num_pages: int, page_size: int, kv_heads: int, head_dim: int, dtype: DTypeLike
    ) -> tuple[int, ...]:
        """Returns `[P, page_size, 2 * K // packing, packing, D]`, keys and values interleaved: K0, V0, K1, ...

        Numbers of less than 32 bits are packed over heads, `packing` to a word, as the registers hold them. In four
        dimensions the same cache has another layout in memory, and is copied as a whole before and after each layer.
        """
        packing = _WORD_BYTES // jnp.dtype(dtype).itemsize
        return num_pages, page_size, -(-2 * kv_heads // packing), packing, head_dim

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
        decoding = jnp.cumprod(ragged.q_lens == 1).sum()  # rows with one token, as far as they come first
        ends = jnp.stack([decoding, decoding, (ragged.q_lens > 0).sum()]).astype(jnp.int32)  # decode, prefill, mixed
        if self._implementation == "reference":
            # It knows neither packing nor blocks.
            out, new_cache = ops.ragged_paged_attention(
                q,
                k,
                v,
                cache.reshape(*cache.shape[:2], -1, cache.shape[-1]),
                ragged.kv_lens,
                ragged.page_table.reshape(-1),
                ragged.cu_q_lens,
                ends,
                sm_scale=scale,
                sliding_window=window,
                implementation="reference",
            )
            return out, new_cache.reshape(cache.shape)
        decode = q.shape[0] == ragged.kv_lens.shape[0]
        blocks = step_blocks(
            query_bytes=q.size * q.dtype.itemsize,
            kv_bytes=2 * math.prod(k.shape[1:]) * cache.dtype.itemsize,
            page_size=cache.shape[1],
        )
        of_case = {RpaCase.DECODE: _block_sizes(blocks.decode)}
        if not decode:
            of_case[RpaCase.MIXED] = _block_sizes(blocks.several)
        return attend(
            q,
            k,
            v,
            cache,
            ragged,
            ends,
            scale=scale,
            window=window,
            blocks=of_case,
            vmem_limit_bytes=blocks.vmem_limit_bytes,
        )


def _block_sizes(blocks: Blocks) -> BlockSizes:
    return BlockSizes(
        bq_sz=blocks.queries,
        bq_c_sz=blocks.queries_at_once,
        bkv_sz=blocks.keys,
        batch_size=blocks.rows,
        n_buffer=blocks.buffers,
    )
