"""Attention of the rows with one token: each is cut into splits, and a second kernel combines their results.

Where a row is cut depends on its length and on the shapes of the step, not on the other rows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sharding.attention.gpu.pages import Pages, load_rows, store_rows
from sharding.attention.gpu.softmax import MASKED, Softmax
from sharding.attention.gpu.splits import Splits
from sharding.attention.gpu.tiling import Tiling
from sharding.attention.protocol import Ragged

_FEW_ROWS = 32
"""Rows times KV heads: up to so many are cut into the shortest splits."""


def decode(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    cache: jax.Array,
    ragged: Ragged,
    out: jax.Array | None,
    *,
    scale: float,
    window: int | None,
    tiling: Tiling,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """Attends and writes for the rows with one token; arguments as in `sharding.attention.Attention`.

    Args:
      q: [T, N, D].
      k: [T, K, D].
      v: [T, K, D].
      cache: [P, page_size, 2 * K, D].
      ragged: the rows.
      out: [T, N, D], to which the results are added; None: everything but the results is unspecified.
      scale: factor on the scores.
      window: as in `Attention`.
      tiling: of the first kernel.
      interpret: run without a GPU.

    Returns:
      The output [T, N, D] and the new cache.
    """
    (_, num_heads, head_dim), kv_heads = q.shape, k.shape[1]
    rows, pages = ragged.page_table.shape
    # The more rows there are, the fewer programs each of them needs.
    shortest = tiling.shortest_split * min(max(rows * kv_heads // _FEW_ROWS, 1), 4)
    most = min(pl.next_power_of_2(pl.cdiv(pages * cache.shape[1], shortest)), tiling.most_splits)

    def split(position: jax.Array) -> Splits:
        first = jnp.int32(0) if window is None else jnp.maximum(position - window + 1, 0)
        return Splits.of(first, position, shortest=shortest, most=most)

    means, log_totals, cache = pl.pallas_call(
        partial(_attend, scale=scale, split=split, tiling=tiling),
        grid=(most, kv_heads, rows),
        out_shape=[
            jax.ShapeDtypeStruct((rows, most, num_heads, head_dim), jnp.float32),
            jax.ShapeDtypeStruct((rows, most, num_heads), jnp.float32),
            jax.ShapeDtypeStruct(cache.shape, cache.dtype),
        ],
        input_output_aliases={6: 2},
        compiler_params=tiling.compiler_params(),
        interpret=interpret,
        name="decode_attention",
    )(q, k, v, *ragged, cache)
    combined = pl.pallas_call(
        partial(_combine, split=split),
        grid=(num_heads, rows),
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        input_output_aliases={} if out is None else {4: 0},
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="combine_decode_splits",
    )(ragged.kv_lens, ragged.cu_q_lens, means, log_totals, *([] if out is None else [out]))
    return combined, cache


def _attend(
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    page_table_ref: Any,
    kv_lens_ref: Any,
    cu_q_lens_ref: Any,
    _: Any,
    means_ref: Any,
    log_totals_ref: Any,
    cache_ref: Any,
    *,
    scale: float,
    split: Callable[[jax.Array], Splits],
    tiling: Tiling,
) -> None:
    """One split of one row: the mean of its values for the heads that read one KV head, and how much it weighs.

    The first split also has the row's own token, which it writes to the cache: no program reads it there in this step.
    """
    index, head, row = (pl.program_id(axis) for axis in range(3))
    group = q_ref.shape[1] // k_ref.shape[1]
    token = cu_q_lens_ref[row]
    position = kv_lens_ref[row] - 1
    splits = split(position)

    @pl.when((cu_q_lens_ref[row + 1] - token == 1) & (index < splits.used))
    def attend() -> None:
        member = jnp.arange(max(tiling.queries, pl.next_power_of_2(group)))
        heads, mine = head * group + member, member < group
        q = load_rows(q_ref, (token, heads), mine)
        pages = Pages(cache_ref, page_table_ref, row, head)
        start, end = splits.bounds(index)

        def step(block: jax.Array, softmax: Softmax) -> Softmax:
            positions = start + block * tiling.keys + jnp.arange(tiling.keys)
            present = positions < end
            return softmax.add(q, *pages.read(positions, present), present[None], scale)

        k, v = k_ref[token, head, :], v_ref[token, head, :]
        own, none = Softmax.of_one(q, k, v, scale), Softmax.empty(*q.shape)
        softmax = jax.tree.map(partial(jnp.where, index == 0), own, none)
        softmax = lax.fori_loop(0, pl.cdiv(end - start, tiling.keys), step, softmax)
        store_rows(means_ref, (row, index, heads), mine, softmax.mean())
        triton.store(log_totals_ref.at[row, index, heads], softmax.log_total(), mask=mine)

        @pl.when(index == 0)
        def write() -> None:
            pages.write(jnp.full(1, position), jnp.full(1, True), k[None], v[None])


def _combine(
    kv_lens_ref: Any,
    cu_q_lens_ref: Any,
    means_ref: Any,
    log_totals_ref: Any,
    *out_refs: Any,
    split: Callable[[jax.Array], Splits],
) -> None:
    """The mean over the splits of one head of one row."""
    head, row = pl.program_id(0), pl.program_id(1)
    token = cu_q_lens_ref[row]

    @pl.when(cu_q_lens_ref[row + 1] - token == 1)
    def combine() -> None:
        index = jnp.arange(means_ref.shape[1])
        used = index < split(kv_lens_ref[row] - 1).used
        log_totals = triton.load(log_totals_ref.at[row, index, head], mask=used, other=MASKED)
        means = load_rows(means_ref, (row, index, head), used)
        weights = jnp.exp2(log_totals - log_totals.max(0))
        out_ref = out_refs[-1]
        out_ref[token, head, :] = ((weights[:, None] * means).sum(0) / weights.sum(0)).astype(out_ref.dtype)
