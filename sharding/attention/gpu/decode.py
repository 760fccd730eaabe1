"""Attention of the rows with one token, split over their sequences (flash-decoding, arXiv 2311.01282).

The device is filled by cutting each sequence into splits that different programs read; a second kernel combines their
results. Where a row is cut depends on its own length only, so a row's result does not depend on the batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sharding.attention.gpu.pages import Pages, load_rows, store_rows
from sharding.attention.gpu.softmax import MASKED, Softmax
from sharding.attention.gpu.tiling import Tiling
from sharding.attention.protocol import Ragged


class Splits(NamedTuple):
    """How the cached positions that a query sees are divided.

    Attributes:
      first: the first of them.
      span: positions in one split; the last one may have fewer.
      count: splits in use, at least 1: the first also has the query's own position.
    """

    first: jax.Array
    span: jax.Array
    count: jax.Array

    @classmethod
    def of(cls, position: jax.Array, window: int | None, shortest: int, most: int) -> "Splits":
        """The splits of the query at `position`: `shortest` positions each, or more when they would exceed `most`."""
        first = jnp.int32(0) if window is None else jnp.maximum(position - window + 1, 0)
        seen = position - first
        span = pl.cdiv(pl.cdiv(seen, most), shortest) * shortest
        span = jnp.maximum(span, shortest)
        return cls(first, span, jnp.maximum(pl.cdiv(seen, span), 1))


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
    shortest_split: int,
    most_splits: int,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """Attends and writes for the rows with one token; arguments as in `sharding.attention.Attention`.

    Args:
      q: [T, N, D].
      k: [T, K, D].
      v: [T, K, D].
      cache: [P, page_size, 2 * K, D].
      ragged: the rows.
      out: [T, N, D] to which the results are added; None: everything but the results is unspecified.
      scale: factor on the scores.
      window: or None.
      tiling: of the first kernel.
      shortest_split: positions in a split, a multiple of `tiling.keys`.
      most_splits: of a row; longer sequences get longer splits.
      interpret: run without a GPU.

    Returns:
      The output [T, N, D] and the new cache.
    """
    (_, num_heads, head_dim), kv_heads = q.shape, k.shape[1]
    rows, pages = ragged.page_table.shape
    splits = min(pl.next_power_of_2(pl.cdiv(pages * cache.shape[1], shortest_split)), most_splits)
    split = partial(Splits.of, window=window, shortest=shortest_split, most=splits)
    means, log_totals, cache = pl.pallas_call(
        partial(_attend, scale=scale, split=split, tiling=tiling),
        grid=(splits, kv_heads, rows),
        out_shape=[
            jax.ShapeDtypeStruct((rows, splits, num_heads, head_dim), jnp.float32),
            jax.ShapeDtypeStruct((rows, splits, num_heads), jnp.float32),
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
        name="combine_splits",
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
    """One split of one row: the mean of its values for the query heads of one KV head, and how much that mean weighs."""
    index, head, row = (pl.program_id(axis) for axis in range(3))
    group = q_ref.shape[1] // k_ref.shape[1]
    token = cu_q_lens_ref[row]
    position = kv_lens_ref[row] - 1
    splits = split(position)

    @pl.when((cu_q_lens_ref[row + 1] - token == 1) & (index < splits.count))
    def _() -> None:
        member = jnp.arange(tiling.queries)
        heads, mine = head * group + member, member < group
        q = load_rows(q_ref, (token, heads), mine)
        pages = Pages(cache_ref, page_table_ref, row, head)
        start = splits.first + index * splits.span
        end = jnp.minimum(start + splits.span, position)

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

        @pl.when(index == 0)  # nobody reads this position from the cache in this step
        def _() -> None:
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
    def _() -> None:
        index = jnp.arange(means_ref.shape[1])
        in_use = index < split(kv_lens_ref[row] - 1).count
        log_totals = triton.load(log_totals_ref.at[row, index, head], mask=in_use, other=MASKED)
        means = load_rows(means_ref, (row, index, head), in_use)
        weights = jnp.exp2(log_totals - log_totals.max(0))
        out_ref = out_refs[-1]
        out_ref[token, head, :] = ((weights[:, None] * means).sum(0) / weights.sum(0)).astype(out_ref.dtype)
