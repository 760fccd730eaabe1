"""Attention on TPUs: tokamax's Mosaic kernel over the same cache and the same ragged rows."""

from typing import Literal

import jax
import jax.numpy as jnp
from tokamax import ops

from sharding.attention.protocol import Ragged


class TokamaxAttention:
    """Implements `sharding.attention.Attention` with `tokamax.ops.ragged_paged_attention`, which writes the cache."""

    def __init__(self, implementation: Literal["mosaic_tpu", "reference"] = "mosaic_tpu") -> None:
        """`reference` is tokamax's own model of the kernel; it runs on any device."""
        self._implementation = implementation

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
        in_use = ragged.q_lens > 0
        decoding = jnp.cumprod(ragged.q_lens == 1).sum()  # rows with one token, as far as they come first
        out, cache = ops.ragged_paged_attention(
            q,
            k,
            v,
            cache,
            ragged.kv_lens,
            ragged.page_table.reshape(-1),
            ragged.cu_q_lens,
            jnp.stack([decoding, decoding, in_use.sum()]).astype(jnp.int32),  # ends of decode, prefill, mixed rows
            sm_scale=scale,
            sliding_window=window,
            implementation=self._implementation,
        )
        return out, cache
