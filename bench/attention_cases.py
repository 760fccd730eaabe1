"""Ragged batches on which attention implementations are compared and timed."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from sharding.attention import Attention, Ragged

HEAD_DIM = 256
SCALE = HEAD_DIM**-0.5


class Inputs(NamedTuple):
    """What `sharding.attention.Attention` takes.

    Attributes:
      q: [T, N, D].
      k: [T, K, D].
      v: [T, K, D].
      cache: [P, page_size, 2 * K, D].
      ragged: the rows.
    """

    q: jax.Array
    k: jax.Array
    v: jax.Array
    cache: jax.Array
    ragged: Ragged


def inputs(
    lens: list[tuple[int, int]],
    tokens: int,
    heads: tuple[int, int],
    page_size: int,
    context: int,
    dtype: DTypeLike,
    rows: int | None = None,
    num_pages: int | None = None,
) -> Inputs:
    """Returns random inputs on random pages.

    Args:
      lens: of each row: its tokens in this step, and how many its sequence had before.
      tokens: T, at least the sum of those in this step.
      heads: query heads and KV heads.
      page_size: tokens in a page.
      context: the longest sequence that a page table holds.
      dtype: of everything.
      rows: B; None: as many as `lens`.
      num_pages: P; None: as many as these rows need.
    """
    rng = np.random.default_rng(len(lens))
    rows = rows or len(lens)
    pages = -(-context // page_size)
    used = [-(-(new + past) // page_size) for new, past in lens]
    num_pages = num_pages or sum(used)
    places = rng.permutation(num_pages).astype(np.int32)
    table = np.zeros((rows, pages), np.int32)
    for row, (end, count) in enumerate(zip(np.cumsum(used), used, strict=True)):
        table[row, :count] = places[end - count : end]
    kv_lens = np.zeros(rows, np.int32)
    kv_lens[: len(lens)] = [new + past for new, past in lens]
    ends = np.full(rows + 1, sum(new for new, _ in lens), np.int32)
    ends[: len(lens) + 1] = np.cumsum([0, *(new for new, _ in lens)])
    query_heads, kv_heads = heads
    shapes = (
        (tokens, query_heads, HEAD_DIM),
        (tokens, kv_heads, HEAD_DIM),
        (tokens, kv_heads, HEAD_DIM),
        (num_pages, page_size, 2 * kv_heads, HEAD_DIM),
    )
    keys = jax.random.split(jax.random.key(len(lens), impl="rbg"), len(shapes))
    q, k, v, cache = (jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True))
    return Inputs(q, k, v, cache, Ragged(jnp.asarray(table), jnp.asarray(kv_lens), jnp.asarray(ends)))


@partial(jax.jit, static_argnames=("attention", "window"))
def attend(attention: Attention, case: Inputs, window: int | None) -> tuple[jax.Array, jax.Array]:
    """Runs an implementation; returns its output and the new cache."""
    return attention(*case, scale=SCALE, window=window)


def largest_error(attention: Attention, reference: Attention, case: Inputs, window: int | None) -> tuple[float, bool]:
    """Compares two implementations; the reference computes in float32.

    Returns:
      The largest |difference| / |expected| of a row's output, as Euclidean norms; and whether the caches are the same.
    """
    out, cache = attend(attention, case, window)
    expected, expected_cache = attend(reference, exact(case), window)
    same_cache = bool((cache.astype(jnp.float32) == expected_cache).all())
    ends = np.asarray(case.ragged.cu_q_lens)
    actual, wanted = (np.asarray(x, np.float32) for x in (out, expected))
    errors = [
        np.linalg.norm(actual[start:end] - wanted[start:end]) / np.linalg.norm(wanted[start:end])
        for start, end in pairwise(ends)
        if end > start
    ]
    return float(np.max(errors)), same_cache


def exact(case: Inputs) -> Inputs:
    """The same inputs in float32."""
    q, k, v, cache = (x.astype(jnp.float32) for x in (case.q, case.k, case.v, case.cache))
    return Inputs(q, k, v, cache, case.ragged)
