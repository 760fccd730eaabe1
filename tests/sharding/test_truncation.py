"""Top-k and top-p keep what sorting the logits in NumPy keeps."""

from collections.abc import Callable, Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from sharding.mesh import make_mesh
from sharding.truncation import lowest_kept

SMALL = 61
LARGE = 2048 * 24
"""Large enough for the largest of its columns to be less than all."""


@pytest.fixture(params=["cpu", "cuda", "tpu"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Whose implementation runs, here on the CPU."""
    if request.param != "cpu":

        def choose(*args: object, default: Callable[..., object], **by_platform: Callable[..., object]) -> object:
            return by_platform.get(request.param, default)(*args)

        monkeypatch.setattr(lax, "platform_dependent", choose)
    yield request.param


@cache
def compiled(platform: str) -> Callable[..., jax.Array]:
    def kept(logits: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
        return ~(logits < lowest_kept(logits, top_k, top_p)[:, None])

    return jax.jit(kept)


def kept(platform: str, logits: np.ndarray, top_k: object = 0, top_p: object = 1.0) -> np.ndarray:
    """Masks [B, V]."""
    logits = np.atleast_2d(np.asarray(logits, np.float32))
    k = np.broadcast_to(np.asarray(top_k, np.int32), len(logits))
    p = np.broadcast_to(np.asarray(top_p, np.float32), len(logits))
    return np.asarray(compiled(platform)(logits, k, p))


def kept_by_sorting(logits: np.ndarray, top_k: int, top_p: float) -> tuple[np.ndarray, bool]:
    """The mask [V] that top-k, then top-p keep, and whether rounding leaves it in doubt."""
    mask = logits >= np.sort(logits)[-top_k] if top_k else np.ones(len(logits), bool)
    if top_p == 1:
        return mask, False
    p = np.where(mask, np.exp(logits.astype(np.float64) - logits.max()), 0)
    p /= p.sum()
    descending = np.sort(p)[::-1]
    cumulative = np.cumsum(descending)
    threshold = descending[min(int(np.searchsorted(cumulative, top_p)), len(p) - 1)]
    return p >= threshold, np.abs(cumulative - top_p).min() < 1e-6


def logits_of(seed: int, vocab_size: int, spread: float, decimals: int, removed: float) -> np.ndarray:
    """Normal logits: rounded, so that many are equal, and some of them -inf."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(size=vocab_size) * spread, decimals)
    logits[rng.random(vocab_size) < removed] = -np.inf
    logits[rng.integers(vocab_size)] = 1.5  # one is left
    return logits.astype(np.float32)


@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.01, 1.0, 3.0, 30.0]),
    decimals=st.sampled_from([1, 6]),
    removed=st.sampled_from([0.0, 0.5, 1.0]),
    top_k=st.one_of(st.integers(0, 100), st.integers(0, LARGE)),
    top_p=st.one_of(st.sampled_from([1e-9, 0.05, 0.95, 0.9999, 1.0]), st.floats(0.01, 1.0)),
)
def test_top_k_then_top_p_keep_what_sorting_keeps(
    vocab_size: int, seed: int, spread: float, decimals: int, removed: float, top_k: int, top_p: float
) -> None:
    logits = logits_of(seed, vocab_size, spread, decimals, removed)
    top_k = min(top_k, vocab_size)
    top_p = float(np.float32(top_p))
    expected, doubtful = kept_by_sorting(logits, top_k, top_p)
    assume(not doubtful)
    assert (kept("cpu", logits, top_k, top_p)[0] == expected).all()


@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_rows_keep_the_same_alone_and_together_on_every_platform(platform: str, vocab_size: int) -> None:
    # A row with one token, some with few, and some whose tokens are not all among the largest of their columns.
    spreads = [100, 5, 3, 3, 1, 0.01, 0.01, 3]
    logits = np.stack([logits_of(seed, vocab_size, spread, 6, 0.0) for seed, spread in enumerate(spreads)])
    top_k = np.array([0, 50, 0, vocab_size, 1, vocab_size // 2, 0, 0])
    top_p = np.array([0.9, 0.8, 0.95, 0.5, 1.0, 0.7, 0.9, 1.0])
    together = kept(platform, logits, top_k, top_p)
    for row in range(len(logits)):
        expected, doubtful = kept_by_sorting(logits[row], int(top_k[row]), float(np.float32(top_p[row])))
        assert not doubtful
        assert (together[row] == expected).all()
        assert (kept(platform, logits[row], top_k[row], top_p[row])[0] == expected).all()


def test_a_column_with_all_the_largest_logits_is_searched_whole(platform: str) -> None:
    logits = np.zeros(LARGE)
    logits[: LARGE // 8 : 256] = np.arange(10, 34)  # more of one column than are kept of it
    for k in (3, 8, 9, 20, 24):
        assert set(np.flatnonzero(kept(platform, logits, k)[0])) == set(np.argsort(-logits)[:k])


@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_all_that_equal_the_smallest_that_is_kept_are_kept(platform: str, vocab_size: int) -> None:
    assert kept(platform, np.zeros(vocab_size), 3, 0.5).all()
    logits = np.full(vocab_size, -1.0)
    logits[10:50] = 0.0
    logits[10:50:2] = -0.0
    logits[7] = 2.0
    assert set(np.flatnonzero(kept(platform, logits, 2)[0])) == {7, *range(10, 50)}
    assert set(np.flatnonzero(kept(platform, logits, 1)[0])) == {7}


@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_the_largest_is_kept_however_small_p_is(platform: str, vocab_size: int) -> None:
    logits = logits_of(3, vocab_size, 0.01, 6, 0.0)
    for p in (0.0, 1e-30, 1 / (2 * vocab_size)):
        assert set(np.flatnonzero(kept(platform, logits, 0, p)[0])) == {int(logits.argmax())}


@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_k_of_the_vocabulary_and_p_of_one_keep_all(platform: str, vocab_size: int) -> None:
    logits = logits_of(4, vocab_size, 3, 6, 0.3)
    assert kept(platform, logits, vocab_size).all()
    assert kept(platform, logits, 0, 1.0).all()
    finite = np.isfinite(logits)
    assert (kept(platform, logits, int(finite.sum()))[0] == finite).all()


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_what_is_not_a_number_is_never_removed(platform: str, vocab_size: int, nan: float) -> None:
    logits = logits_of(5, vocab_size, 3, 6, 0.0)
    logits[17] = nan
    for top_k, top_p in ((5, 1.0), (0, 0.9), (5, 0.9)):
        assert kept(platform, logits, top_k, top_p)[0, 17]


def test_sharded_logits_keep_the_same(platform: str) -> None:
    logits = np.stack([logits_of(seed, LARGE, spread, 6, 0.0) for seed, spread in enumerate([3, 5, 0.01])])
    expected = kept(platform, logits, [40, 0, 0], [0.9, 0.95, 0.9])
    for devices in (2, 4, 8):
        sharding = jax.sharding.NamedSharding(make_mesh(devices), jax.sharding.PartitionSpec(None, "tensor"))
        sharded = jax.device_put(jnp.asarray(logits), sharding)
        found = compiled(platform)(sharded, jnp.array([40, 0, 0]), jnp.array([0.9, 0.95, 0.9], jnp.float32))
        assert (np.asarray(found) == expected).all()
