"""Attention implementations against dense attention, on random ragged batches."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.attention import AttentionImplementation, Ragged, ReferenceAttention, attention_for
from sharding.attention.gpu import TritonAttention
from sharding.attention.gpu.tiling import Tiling
from tests.sharding.small_models import dense_attention, relative_error

PAGES_PER_SEQUENCE = 12
NUM_PAGES = 64


class Case(NamedTuple):
    """A batch: `lens` of (tokens in this step, tokens in the cache before), on shapes that are compiled once."""

    lens: list[tuple[int, int]]
    num_tokens: int
    num_rows: int
    page_size: int
    heads: tuple[int, int]
    head_dim: int
    window: int | None
    seed: int


SHAPES = [
    (4, 4, 32, (4, 2), 16),  # decode
    (96, 4, 32, (8, 1), 16),
    (96, 4, 12, (3, 3), 16),  # pages that do not divide a block
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    num_tokens, num_rows, page_size, heads, head_dim = draw(st.sampled_from(SHAPES))
    context = page_size * PAGES_PER_SEQUENCE
    left = num_tokens
    lens = []
    for _ in range(draw(st.integers(1, num_rows))):
        new = 1 if num_tokens == num_rows else draw(st.sampled_from([1, 1, 2, 31, 32, 33, 60]))
        new = min(new, left)
        if new:
            lens.append((new, draw(st.integers(0, context - new))))
        left -= new
    window = draw(st.sampled_from([None, 1, 20, 150]))
    return Case(lens, num_tokens, num_rows, page_size, heads, head_dim, window, draw(st.integers(0, 99)))


_COMPILED_SOON = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""For kernels of other devices, which are interpreted here: to make that fast takes longer than it saves."""


@cache
def compiled(attention: Any, window: int | None) -> Callable[..., tuple[jax.Array, jax.Array]]:
    options = None if attention is REFERENCE else _COMPILED_SOON
    return jax.jit(partial(attention, scale=0.25, window=window), compiler_options=options)


class Outcome(NamedTuple):
    """Outputs by row, the cache before and after, the pages by row, and the expected outputs by row."""

    outputs: dict[int, np.ndarray]
    cache_before: np.ndarray
    cache_after: np.ndarray
    pages: dict[int, np.ndarray]
    expected: dict[int, np.ndarray]


def run(attention: AttentionImplementation, case: Case, keep: set[int] | None = None) -> Outcome:
    """Runs the rows in `keep` of a batch, each with the values it has in the full batch."""
    rng = np.random.default_rng(case.seed)
    num_heads, kv_heads = case.heads
    cache_before = rng.normal(size=(NUM_PAGES, case.page_size, 2 * kv_heads, case.head_dim)).astype(np.float32)
    all_pages = rng.permutation(NUM_PAGES)[: len(case.lens) * PAGES_PER_SEQUENCE].reshape(len(case.lens), -1)
    q = np.zeros((case.num_tokens, num_heads, case.head_dim), np.float32)
    k, v = (np.full((case.num_tokens, kv_heads, case.head_dim), 7e6, np.float32) for _ in range(2))
    table = np.zeros((case.num_rows, PAGES_PER_SEQUENCE), np.int32)
    kv_lens = np.zeros(case.num_rows, np.int32)
    cu_q_lens = [0]
    expected, pages = {}, {}
    for index, (new, before) in enumerate(case.lens):
        values = rng.normal(size=(new, num_heads + 2 * kv_heads, case.head_dim)).astype(np.float32)
        if keep is not None and index not in keep:
            continue
        tokens, slot = slice(cu_q_lens[-1], cu_q_lens[-1] + new), len(cu_q_lens) - 1
        q[tokens], k[tokens], v[tokens] = np.split(values, [num_heads, num_heads + kv_heads], axis=1)
        table[slot], kv_lens[slot] = all_pages[index], before + new
        cu_q_lens.append(cu_q_lens[-1] + new)
        past = cache_before[all_pages[index]].reshape(-1, kv_heads, 2, case.head_dim)[:before]
        keys, vals = (np.concatenate([past[:, :, i], now[tokens]]).swapaxes(0, 1) for i, now in enumerate((k, v)))
        expected[index] = dense_attention(q[tokens].swapaxes(0, 1) * 0.25, keys, vals, case.window).swapaxes(0, 1)
        pages[index] = all_pages[index]
    cu_q_lens += [cu_q_lens[-1]] * (case.num_rows + 1 - len(cu_q_lens))
    ragged = Ragged(jnp.asarray(table), jnp.asarray(kv_lens), jnp.asarray(cu_q_lens, jnp.int32))
    shape = attention.cache_shape(NUM_PAGES, case.page_size, kv_heads, case.head_dim, jnp.float32)
    given = jnp.asarray(cache_before).reshape(shape)
    out, cache_after = compiled(cast(Any, attention), case.window)(q, k, v, given, ragged)
    outputs = {index: np.asarray(out)[cu_q_lens[slot] : cu_q_lens[slot + 1]] for slot, index in enumerate(expected)}
    return Outcome(outputs, cache_before, np.asarray(cache_after).reshape(cache_before.shape), pages, expected)


REFERENCE = ReferenceAttention()
_SMALL = Tiling(queries=16, keys=16, warps=4, stages=2, shortest_split=32, most_splits=4)
TRITON = TritonAttention(decode_tiling=_SMALL, prefill_tiling=_SMALL, interpret=True)

every_implementation = pytest.mark.parametrize("attention", [REFERENCE, TRITON], ids=["reference", "triton"])


@every_implementation
@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_every_row_attends_to_its_own_past(attention: AttentionImplementation, case: Case) -> None:
    outputs, *_, expected = run(attention, case)
    for index, value in expected.items():
        assert relative_error(outputs[index], value) < 1e-5, index


@every_implementation
@settings(deadline=None, max_examples=30)
@given(case=cases())
def test_only_the_new_positions_of_the_cache_change(attention: AttentionImplementation, case: Case) -> None:
    _, before, after, pages, _ = run(attention, case)
    changed = (before != after).any(axis=(2, 3))
    expected = np.zeros_like(changed)
    for index, (new, past) in enumerate(case.lens):
        for position in range(past, past + new):
            expected[pages[index][position // case.page_size], position % case.page_size] = True
    assert (changed == expected).all()


@every_implementation
@settings(deadline=None, max_examples=30)
@given(case=cases(), data=st.data())
def test_a_row_has_bitwise_the_same_output_alone_and_in_a_batch(
    attention: AttentionImplementation, case: Case, data: st.DataObject
) -> None:
    index = data.draw(st.sampled_from(range(len(case.lens))))
    together = run(attention, case)[0][index]
    alone = run(attention, case, keep={index})[0][index]
    assert (together == alone).all()


@pytest.mark.parametrize("heads", [(8, 1), (2, 2)], ids=["mqa", "mha"])
def test_the_kernels_agree_with_the_tilings_they_have_on_a_gpu(heads: tuple[int, int]) -> None:
    case = Case([(1, 300), (33, 0), (20, 270)], 96, 4, 32, heads, 256, None, seed=0)  # pasts of several splits
    outputs, *_, expected = run(TritonAttention(interpret=True), case)
    for index, value in expected.items():
        assert relative_error(outputs[index], value) < 1e-5, index


def test_a_gpu_gets_the_kernels() -> None:
    assert isinstance(attention_for("gpu"), TritonAttention)


@pytest.mark.parametrize("lens", [[(1, 40), (1, 0), (1, 90)], [(1, 40), (33, 0), (20, 70)]], ids=["decode", "mixed"])
@pytest.mark.parametrize("heads", [(8, 1), (4, 4)], ids=["mqa", "mha"])
@pytest.mark.parametrize("window", [None, 20])
def test_tokamax_agrees(lens: list[tuple[int, int]], heads: tuple[int, int], window: int | None) -> None:
    from sharding.attention.tpu import TokamaxAttention

    num_tokens = 4 if all(new == 1 for new, _ in lens) else 96
    case = Case(lens, num_tokens, 4, 16, heads, 256, window, seed=0)
    ours, theirs = run(REFERENCE, case), run(TokamaxAttention("reference"), case)
    for index in range(len(lens)):
        assert relative_error(theirs[0][index], ours[0][index]) < 1e-5
    assert (theirs[2] == ours[2]).all()
