"""Attention of the rows with several tokens, a block of a row's tokens in each program.

A block reads the row's past from the pages, and what this step adds from the step itself; so it can write its own
tokens to the pages without waiting for another program.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from sharding.attention.gpu.pages import Pages, load_rows, store_rows
from sharding.attention.gpu.softmax import Softmax
from sharding.attention.gpu.tiling import Tiling
from sharding.attention.protocol import Ragged


def prefill(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    cache: jax.Array,
    ragged: Ragged,
    *,
    scale: float,
    window: int | None,
    tiling: Tiling,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """Attends and writes for the rows with several tokens; arguments as in `sharding.attention.Attention`.

    Returns:
      The output [T, N, D], unspecified for all other tokens, and the new cache.
    """
    (num_tokens, num_heads, _), kv_heads = q.shape, k.shape[1]
    group = num_heads // kv_heads
    queries = max(tiling.queries, pl.next_power_of_2(group))
    block = queries // group
    rows = ragged.kv_lens.shape[0]
    blocks = jnp.where(ragged.q_lens > 1, pl.cdiv(ragged.q_lens, block), 0)
    ends = jnp.cumsum(blocks)
    item = jnp.arange(num_tokens // block + min(rows, num_tokens // 2))  # as many blocks as any rows can have
    item_row = jnp.searchsorted(ends, item, side="right", method="compare_all")  # B for those not needed
    item_start = (item - (ends - blocks)[item_row]) * block
    out, cache = pl.pallas_call(
        partial(_attend, scale=scale, window=window, tiling=tiling, queries=queries, block=block),
        grid=(item.size, kv_heads),
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct(cache.shape, cache.dtype)],
        input_output_aliases={8: 1},
        compiler_params=tiling.compiler_params(),
        interpret=interpret,
        name="prefill_attention",
    )(q, k, v, *ragged, item_row, item_start, cache)
    return out, cache


def _attend(
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    page_table_ref: Any,
    kv_lens_ref: Any,
    cu_q_lens_ref: Any,
    item_row_ref: Any,
    item_start_ref: Any,
    _: Any,
    out_ref: Any,
    cache_ref: Any,
    *,
    scale: float,
    window: int | None,
    tiling: Tiling,
    queries: int,
    block: int,
) -> None:
    """The query heads of one KV head for one block of a row's tokens; `queries` are tokens times heads."""
    item, head = pl.program_id(0), pl.program_id(1)
    row = item_row_ref[item]

    @pl.when(row < kv_lens_ref.shape[0])
    def _() -> None:
        group = q_ref.shape[1] // k_ref.shape[1]
        first_token = cu_q_lens_ref[row]
        count = cu_q_lens_ref[row + 1] - first_token
        past = kv_lens_ref[row] - count
        start = item_start_ref[item]
        end = jnp.minimum(start + block, count)
        pages = Pages(cache_ref, page_table_ref, row, head)

        query = jnp.arange(queries)
        offset = start + query // group  # of its token in the row's tokens of this step
        mine = offset < end
        place = jnp.where(mine, first_token + offset, q_ref.shape[0]), head * group + query % group
        q = load_rows(q_ref, place, mine)
        newest = past + offset
        oldest = jnp.zeros_like(newest) if window is None else jnp.maximum(newest - window + 1, 0)
        horizon = jnp.int32(0) if window is None else jnp.maximum(past + start - window + 1, 0)

        def see_past(index: jax.Array, softmax: Softmax) -> Softmax:
            positions = horizon + index * tiling.keys + jnp.arange(tiling.keys)
            present = positions < past
            visible = present[None] & (positions[None] >= oldest[:, None])
            return softmax.add(q, *pages.read(positions, present), visible, scale)

        first_seen = jnp.maximum(horizon - past, 0)

        def see_present(index: jax.Array, softmax: Softmax) -> Softmax:
            offsets = first_seen + index * tiling.keys + jnp.arange(tiling.keys)
            k, v = (load_rows(ref, (first_token + offsets, head), offsets < end) for ref in (k_ref, v_ref))
            positions = (past + offsets)[None]
            visible = (positions >= oldest[:, None]) & (positions <= newest[:, None])
            return softmax.add(q, k, v, visible, scale)

        softmax = Softmax.empty(*q.shape)
        softmax = lax.fori_loop(0, pl.cdiv(jnp.maximum(past - horizon, 0), tiling.keys), see_past, softmax)
        softmax = lax.fori_loop(0, pl.cdiv(end - first_seen, tiling.keys), see_present, softmax)
        store_rows(out_ref, place, mine, softmax.mean())

        written = start + jnp.arange(pl.next_power_of_2(block))
        present = written < end
        k, v = (load_rows(ref, (first_token + written, head), present) for ref in (k_ref, v_ref))
        pages.write(past + written, present, k, v)
