"""TritonAttention: the attention of a step from one kernel for each kind of row."""

from functools import partial

import jax

from sharding.attention.gpu.decode import decode
from sharding.attention.gpu.prefill import prefill
from sharding.attention.gpu.tiling import DECODE, PREFILL, Tiling
from sharding.attention.interleaved import interleaved_shape
from sharding.attention.protocol import Ragged


class TritonAttention:
    """Implements `sharding.attention.AttentionImplementation`; D must be a power of 2.

    Rows with one token go to one kernel, rows with several to another: the first reads a long sequence with many
    programs at once, the second reads it once for many tokens. Programs without work end at once.
    """

    cache_shape = staticmethod(interleaved_shape)

    def __init__(
        self, *, decode_tiling: Tiling = DECODE, prefill_tiling: Tiling = PREFILL, interpret: bool = False
    ) -> None:
        """Chooses how work is divided.

        Args:
          decode_tiling: of rows with one token.
          prefill_tiling: of rows with several tokens.
          interpret: run without a GPU, for tests.
        """
        self._decode = partial(decode, tiling=decode_tiling, interpret=interpret)
        self._prefill = partial(prefill, tiling=prefill_tiling, interpret=interpret)

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
        q, k, v = (x.astype(cache.dtype) for x in (q, k, v))
        out = None
        if q.shape[0] != ragged.kv_lens.shape[0]:  # not a decode step, where every row has one token
            out, cache = self._prefill(q, k, v, cache, ragged, scale=scale, window=window)
        return self._decode(q, k, v, cache, ragged, out, scale=scale, window=window)
