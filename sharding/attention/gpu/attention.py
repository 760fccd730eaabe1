"""TritonAttention: the attention of a step from one kernel for each kind of row."""

import jax

from sharding.attention.gpu.decode import decode
from sharding.attention.gpu.prefill import prefill
from sharding.attention.gpu.tiling import Tiling, decode_tiling, prefill_tiling
from sharding.attention.protocol import Ragged


class TritonAttention:
    """Implements `sharding.attention.Attention`; D must be a power of 2.

    Rows with one token go to one kernel, rows with several to another: the first reads a long sequence with many
    programs at once, the second reads it once for many tokens. Programs without work end at once.
    """

    def __init__(
        self,
        *,
        decode_tiling: Tiling | None = None,
        prefill_tiling: Tiling | None = None,
        interpret: bool = False,
    ) -> None:
        """Chooses how work is divided.

        Args:
          decode_tiling: of rows with one token; None: the best one known.
          prefill_tiling: of rows with several tokens; None: the best one known.
          interpret: run without a GPU, for tests.
        """
        self._decode_tiling = decode_tiling
        self._prefill_tiling = prefill_tiling
        self._interpret = interpret

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
            tiling = self._prefill_tiling or prefill_tiling(cache.dtype)
            out, cache = prefill(
                q, k, v, cache, ragged, scale=scale, window=window, tiling=tiling, interpret=self._interpret
            )
        out, cache = decode(
            q,
            k,
            v,
            cache,
            ragged,
            out,
            scale=scale,
            window=window,
            tiling=self._decode_tiling or decode_tiling(cache.dtype),
            interpret=self._interpret,
        )
        return out, cache
