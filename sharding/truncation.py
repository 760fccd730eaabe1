"""Top-k and top-p: the smallest logit that they keep, exactly, and without sorting the vocabulary."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_LARGEST = 1 << 14
"""How many of a row's largest logits are taken: the same number from each of several columns."""
_DEPTH = {"cpu": 8, "default": 16}
"""That number; more would not fit a CPU's registers. If logits lie in columns at random, one column has more of the n
largest with a chance of at most C(n, depth) / columns ** (depth - 1): on CPUs 1 in 6,000 for n = 1,000, elsewhere 1 in
13,000 for n = 2,500."""
_MULTIPLE = _LARGEST // min(_DEPTH.values())
"""Of the size of a vocabulary that divides into columns."""
_PARTS = 8
"""Columns are cut out of each 8th of the vocabulary, so that on 1, 2, 4 or 8 devices none spans two of them."""
_DIGIT_BITS = {"cpu": 1, "cuda": 4, "default": 4}
"""Of a threshold, found in one pass over the logits: an accelerator does 15 comparisons while it reads one of them."""

type _Weight = Callable[[jax.Array], jax.Array]
type _Sums = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""Thresholds [B, D], x [B, N] and weights [B, N] to what the weights of all x from each threshold on add up to."""


def lowest_kept(logits: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """The smallest logit of each row that top-k, and top-p of what that keeps, keep; -inf where they keep all: [B].

    Top-k keeps the k largest, top-p the fewest of the largest that have the probability p together; both keep whatever
    equals the smallest of these.

    Args:
      logits: float32 [B, V].
      top_k: int32 [B]; 0 keeps all.
      top_p: float32 [B]; 1 keeps all.
    """
    largest = _Largest.of(logits)
    everything = jnp.full(logits.shape[:1], -jnp.inf)

    def by_k() -> jax.Array:
        return largest.threshold(logits, jnp.ones_like, jnp.where(top_k > 0, top_k, jnp.inf))

    lowest = lax.cond(jnp.any(top_k > 0), by_k, lambda: everything)
    maximum = largest.values.max(-1, keepdims=True)

    def weight(x: jax.Array) -> jax.Array:
        """The probability, times that which makes the largest one 1."""
        return jnp.where(x >= lowest[:, None], jnp.exp(x - maximum), 0)

    @jax.named_scope("top_p")  # a name for `compiled` and for profiles
    def by_p() -> jax.Array:
        target = jnp.maximum(top_p * weight(logits).sum(-1), 1)  # the largest is kept, however small p is
        return largest.threshold(logits, weight, jnp.where(top_p < 1, target, jnp.inf))

    return jnp.maximum(lowest, lax.cond(jnp.any(top_p < 1), by_p, lambda: everything))


class _Largest(NamedTuple):
    """The largest logits of each row, in which most thresholds are found.

    Attributes:
      values: float32 [B, C], in any order.
      floor: float32 [B]; every logit above it is among `values`.
    """

    values: jax.Array
    floor: jax.Array

    @classmethod
    def of(cls, logits: jax.Array) -> "_Largest":
        """Of [B, V], in one pass; all of them, if V is small or does not divide into columns."""
        rows, vocab_size = logits.shape
        if vocab_size % _MULTIPLE or vocab_size <= _LARGEST:
            return cls(logits, jnp.full(rows, -jnp.inf))
        cpu, default = partial(_by_insertion, depth=_DEPTH["cpu"]), partial(_by_merging, depth=_DEPTH["default"])
        largest: _Largest = lax.platform_dependent(logits, cpu=cpu, default=default)
        return largest

    def threshold(self, logits: jax.Array, weight: _Weight, target: jax.Array) -> jax.Array:
        """As `_threshold` of the logits [B, V] that these are of."""
        weights = weight(self.values)
        found = _threshold(self.values, weights, target)
        if self.values.shape == logits.shape:
            return found
        exact = (_weight_from(self.floor, self.values, weights) >= target) | jnp.isinf(target)

        def among_all() -> jax.Array:
            # Only in the rows that need it: sums over all and over some differ by rounding, and what a row keeps must
            # not depend on the other rows.
            return jnp.where(exact, found, _threshold(logits, weight(logits), target))

        threshold: jax.Array = lax.cond(jnp.any(~exact), among_all, lambda: found)
        return threshold


def _table(logits: jax.Array, depth: int) -> jax.Array:
    """[B, V] -> [B, P, R, C], with columns over the third axis."""
    return logits.reshape(logits.shape[0], _PARTS, -1, _LARGEST // depth // _PARTS)


def _of_columns(lists: list[jax.Array]) -> _Largest:
    """Of the largest of each column, largest first: each [B, P, C]."""
    return _Largest(jnp.stack(lists, axis=-1).reshape(len(lists[0]), -1), lists[-1].max((1, 2)))


def _by_merging(logits: jax.Array, depth: int) -> _Largest:
    """Reduces columns of sorted lists, which XLA does in one pass on accelerators."""

    def merge(a: list[jax.Array], b: list[jax.Array]) -> list[jax.Array]:
        """The larger half of two sorted lists, by half of Batcher's bitonic merge."""
        larger = [jnp.maximum(x, y) for x, y in zip(a, reversed(b), strict=True)]
        distance = depth // 2
        while distance:
            for i in range(depth):
                if not i & distance:
                    x, y = larger[i], larger[i + distance]
                    larger[i], larger[i + distance] = jnp.maximum(x, y), jnp.minimum(x, y)
            distance //= 2
        return larger

    table = _table(logits, depth)
    lists = [table] + [jnp.full_like(table, -jnp.inf)] * (depth - 1)
    return _of_columns(lax.reduce(lists, [-jnp.inf] * depth, merge, (2,)))


def _by_insertion(logits: jax.Array, depth: int) -> _Largest:
    """Inserts one logit of each column after the other in sorted lists, which XLA vectorises on CPUs."""
    table = _table(logits, depth)

    def insert(index: jax.Array, lists: list[jax.Array]) -> list[jax.Array]:
        value = lax.dynamic_index_in_dim(table, index, axis=2, keepdims=False)
        inserted = []
        for each in lists:
            inserted.append(jnp.maximum(each, value))
            value = jnp.minimum(each, value)
        return inserted

    lists = [jnp.full_like(table[:, :, 0], -jnp.inf)] * depth
    return _of_columns(lax.fori_loop(0, table.shape[2], insert, lists))


def _threshold(x: jax.Array, weights: jax.Array, target: jax.Array) -> jax.Array:
    """The largest number from which on the weights of x [B, N] add up to `target` [B]; -inf where there is none: [B].

    It is found digit by digit in an order-preserving integer view of the floats: exact, and without sorting.
    """
    sums = {"cpu": _sums_apart, "cuda": _sums_together, "default": _sums_apart}
    search = {
        platform: partial(_search, digit_bits=bits, sums=sums[platform]) for platform, bits in _DIGIT_BITS.items()
    }
    threshold: jax.Array = lax.platform_dependent(x, weights, target, **search)
    return jnp.where(jnp.isnan(threshold), -jnp.inf, threshold)


def _search(x: jax.Array, weights: jax.Array, target: jax.Array, *, digit_bits: int, sums: _Sums) -> jax.Array:
    """As `_threshold`, but NaN where there is none."""
    digits = jnp.arange(1, 1 << digit_bits, dtype=jnp.uint32)

    def refine(step: jax.Array, found: jax.Array) -> jax.Array:
        shift = (32 - digit_bits * (step + 1)).astype(jnp.uint32)
        tried = found[:, None] | digits << shift
        enough = sums(_float_at(tried), x, weights) >= target[:, None]
        return found | jnp.sum(enough, axis=-1, dtype=jnp.uint32) << shift

    return _float_at(lax.fori_loop(0, 32 // digit_bits, refine, jnp.zeros(x.shape[:1], jnp.uint32)))


def _sums_apart(thresholds: jax.Array, x: jax.Array, weights: jax.Array) -> jax.Array:
    """One sum for each threshold: XLA computes them in one pass, and an array of sums in several, but not on GPUs."""
    sums = [_weight_from(thresholds[:, index], x, weights) for index in range(thresholds.shape[1])]
    return jnp.stack(sums, axis=-1)


def _sums_together(thresholds: jax.Array, x: jax.Array, weights: jax.Array) -> jax.Array:
    """One kernel on a GPU, where each of the sums apart would be a kernel too."""
    return jnp.where(x[:, None] >= thresholds[..., None], weights[:, None], 0).sum(-1)


def _float_at(ordered: jax.Array) -> jax.Array:
    """The float32 at a place of their order, uint32; NaN below and above the infinities."""
    sign = jnp.uint32(1 << 31)
    return lax.bitcast_convert_type(jnp.where(ordered & sign, ordered ^ sign, ~ordered), jnp.float32)


def _weight_from(threshold: jax.Array, x: jax.Array, weights: jax.Array) -> jax.Array:
    """What the weights of all x [B, N] that are at least `threshold` [B] add up to: [B]."""
    return jnp.where(x >= threshold[:, None], weights, 0).sum(-1)
