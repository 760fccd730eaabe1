"""The k largest numbers against a stable sort in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.top_k import top_k

K = 5


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([K, 512, 5 * 1024, 11 * 512, 13 * 1024, 12_345]),
    distinct=st.sampled_from([1, 2, 7, 100_000]),
)
def test_the_largest_numbers_come_first_and_of_equal_ones_the_first(seed: int, size: int, distinct: int) -> None:
    x = np.random.default_rng(seed).integers(0, distinct, (3, size)).astype(np.float32)
    expected = np.argsort(-x, axis=-1, kind="stable")[:, :K]
    numbers, indices = jax.jit(partial(top_k, k=K))(x)
    assert np.array_equal(indices, expected)
    assert np.array_equal(numbers, np.take_along_axis(x, expected, axis=-1))


@pytest.mark.parametrize("chunk", [0, 7, 12])
def test_all_of_the_largest_may_lie_in_one_chunk(chunk: int) -> None:
    x = np.zeros((1, 13 * 512), np.float32)
    x[0, 512 * chunk + 100 : 512 * chunk + 100 + K] = np.arange(K) + 1
    _, indices = top_k(jnp.asarray(x), K)
    assert indices[0].tolist() == [512 * chunk + 100 + i for i in reversed(range(K))]
