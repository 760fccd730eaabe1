"""Attention of the rows with several tokens, a block of a row's tokens in each program.

A block reads the row's past from the pages, and what this step adds from the step itself; so it can write its own
tokens to the pages without waiting for another program. Where there are too few blocks to fill a device, they share the
past among several programs, whose results a second kernel combines.
"""

from functools import partial
from typing import Any, NamedTuple

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

_PROGRAMS = 256
"""Enough to fill a large GPU."""


class Shape(NamedTuple):
    """What is fixed when a kernel is compiled.

    Attributes:
      queries: M, at most `block` tokens times `group` heads.
      block: tokens.
      group: query heads that read one KV head.
      window: as in `Attention`.
      shortest_split: cached positions.
      most_splits: of one block's past.
    """

    queries: int
    block: int
    group: int
    window: int | None
    shortest_split: int
    most_splits: int


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
    (num_tokens, num_heads, head_dim), kv_heads = q.shape, k.shape[1]
    group = num_heads // kv_heads
    queries = max(tiling.queries, pl.next_power_of_2(group))
    block = queries // group
    most_splits = max(min(_PROGRAMS // (pl.cdiv(num_tokens, block) * kv_heads), tiling.most_splits), 1)
    shape = Shape(queries, block, group, window, tiling.shortest_split, most_splits)

    rows = ragged.kv_lens.shape[0]
    blocks = jnp.where(ragged.q_lens > 1, pl.cdiv(ragged.q_lens, block), 0)
    ends = jnp.cumsum(blocks)
    item = jnp.arange(num_tokens // block + min(rows, num_tokens // 2))  # as many blocks as any rows can have
    item_row = jnp.searchsorted(ends, item, side="right", method="compare_all")  # B for those not needed
    item_start = (item - (ends - blocks)[item_row]) * block
    where = (ragged.kv_lens, ragged.cu_q_lens, item_row, item_start)

    out, means, log_totals, cache = pl.pallas_call(
        partial(_attend, scale=scale, shape=shape, keys=tiling.keys),
        grid=(item.size, kv_heads, most_splits),
        out_shape=[
            jax.ShapeDtypeStruct(q.shape, q.dtype),
            jax.ShapeDtypeStruct((num_tokens, most_splits, num_heads, head_dim), jnp.float32),
            jax.ShapeDtypeStruct((num_tokens, most_splits, num_heads), jnp.float32),
            jax.ShapeDtypeStruct(cache.shape, cache.dtype),
        ],
        input_output_aliases={8: 3},
        compiler_params=tiling.compiler_params(),
        interpret=interpret,
        name="prefill_attention",
    )(*where, q, k, v, ragged.page_table, cache)
    if most_splits > 1:
        out = pl.pallas_call(
            partial(_combine, shape=shape),
            grid=(item.size, kv_heads),
            out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
            input_output_aliases={6: 0},
            compiler_params=triton.CompilerParams(num_warps=8, num_stages=2),
            interpret=interpret,
            name="combine_prefill_splits",
        )(*where, means, log_totals, out)
    return out, cache


class _Block(NamedTuple):
    """The tokens `start` to `end` of those that a row has in this step.

    Attributes:
      row: B where there is nothing to do.
      first_token: the row's first token in the step.
      past: tokens of the row before this step.
      start: the block's first token, counted in the row's.
      end: one past its last.
    """

    row: jax.Array
    first_token: jax.Array
    past: jax.Array
    start: jax.Array
    end: jax.Array

    @classmethod
    def of(cls, item: jax.Array, kv_lens: Any, cu_q_lens: Any, item_row: Any, item_start: Any, size: int) -> "_Block":
        row, start = item_row[item], item_start[item]
        row_read = jnp.minimum(row, kv_lens.shape[0] - 1)
        first_token = cu_q_lens[row_read]
        count = cu_q_lens[row_read + 1] - first_token
        return cls(row, first_token, kv_lens[row_read] - count, start, jnp.minimum(start + size, count))

    def splits(self, shape: Shape) -> Splits:
        """Of the positions before this step that its first query sees."""
        newest = self.past + self.start
        first = jnp.int32(0) if shape.window is None else jnp.maximum(newest - shape.window + 1, 0)
        return Splits.of(first, self.past, shortest=shape.shortest_split, most=shape.most_splits)

    def queries(self, head: jax.Array, shape: Shape) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of each query, [M]: its token, counted in the row's, its head, and whether there is one."""
        query = jnp.arange(shape.queries)
        offset = self.start + query // shape.group
        return offset, head * shape.group + query % shape.group, offset < self.end


def _attend(
    kv_lens_ref: Any,
    cu_q_lens_ref: Any,
    item_row_ref: Any,
    item_start_ref: Any,
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    page_table_ref: Any,
    _: Any,
    out_ref: Any,
    means_ref: Any,
    log_totals_ref: Any,
    cache_ref: Any,
    *,
    scale: float,
    shape: Shape,
    keys: int,
) -> None:
    """One block of tokens for the query heads of one KV head, and one split of its past.

    The first split also has the tokens of this step, and writes those of the block to the cache: no program reads them
    there in this step.
    """
    item, head, index = (pl.program_id(axis) for axis in range(3))
    block = _Block.of(item, kv_lens_ref, cu_q_lens_ref, item_row_ref, item_start_ref, shape.block)
    splits = block.splits(shape)

    @pl.when((block.row < kv_lens_ref.shape[0]) & (index < splits.used))
    def attend() -> None:
        pages = Pages(cache_ref, page_table_ref, block.row, head)
        offset, heads, mine = block.queries(head, shape)
        tokens = jnp.where(mine, block.first_token + offset, q_ref.shape[0])
        q = load_rows(q_ref, (tokens, heads), mine)
        newest = block.past + offset
        oldest = jnp.zeros_like(newest) if shape.window is None else jnp.maximum(newest - shape.window + 1, 0)
        start, end = splits.bounds(index)

        def see_past(step: jax.Array, softmax: Softmax) -> Softmax:
            positions = start + step * keys + jnp.arange(keys)
            present = positions < end
            visible = present[None] & (positions[None] >= oldest[:, None])
            return softmax.add(q, *pages.read(positions, present), visible, scale)

        first_seen = jnp.maximum(splits.first - block.past, 0)

        def see_present(step: jax.Array, softmax: Softmax) -> Softmax:
            offsets = first_seen + step * keys + jnp.arange(keys)
            k, v = (load_rows(ref, (block.first_token + offsets, head), offsets < block.end) for ref in (k_ref, v_ref))
            positions = (block.past + offsets)[None]
            visible = (positions >= oldest[:, None]) & (positions <= newest[:, None])
            return softmax.add(q, k, v, visible, scale)

        softmax = Softmax.empty(*q.shape)
        softmax = lax.fori_loop(0, pl.cdiv(jnp.maximum(end - start, 0), keys), see_past, softmax)
        present_end = jnp.where(index == 0, block.end, first_seen)
        softmax = lax.fori_loop(0, pl.cdiv(present_end - first_seen, keys), see_present, softmax)

        @pl.when(splits.used == 1)
        def finish() -> None:
            store_rows(out_ref, (tokens, heads), mine, softmax.mean())

        @pl.when(splits.used > 1)
        def leave_to_combine() -> None:
            store_rows(means_ref, (tokens, index, heads), mine, softmax.mean())
            triton.store(log_totals_ref.at[tokens, index, heads], softmax.log_total(), mask=mine)

        @pl.when(index == 0)
        def write() -> None:
            written = block.start + jnp.arange(pl.next_power_of_2(shape.block))
            present = written < block.end
            k, v = (load_rows(ref, (block.first_token + written, head), present) for ref in (k_ref, v_ref))
            pages.write(block.past + written, present, k, v)


def _combine(
    kv_lens_ref: Any,
    cu_q_lens_ref: Any,
    item_row_ref: Any,
    item_start_ref: Any,
    means_ref: Any,
    log_totals_ref: Any,
    _: Any,
    out_ref: Any,
    *,
    shape: Shape,
) -> None:
    """The means over the splits of one block of tokens for the query heads of one KV head."""
    item, head = pl.program_id(0), pl.program_id(1)
    block = _Block.of(item, kv_lens_ref, cu_q_lens_ref, item_row_ref, item_start_ref, shape.block)
    splits = block.splits(shape)

    @pl.when((block.row < kv_lens_ref.shape[0]) & (splits.used > 1))
    def combine() -> None:
        offset, heads, mine = block.queries(head, shape)
        tokens = jnp.where(mine, block.first_token + offset, out_ref.shape[0])

        def add(index: jax.Array, softmax: Softmax) -> Softmax:
            log_total = triton.load(log_totals_ref.at[tokens, index, heads], mask=mine, other=MASKED)
            return softmax.merge(load_rows(means_ref, (tokens, index, heads), mine), log_total)

        softmax = lax.fori_loop(0, splits.used, add, Softmax.empty(shape.queries, out_ref.shape[-1]))
        store_rows(out_ref, (tokens, heads), mine, softmax.mean())
