"""Sampling against a sort in NumPy and against the distribution it should draw from."""

from collections.abc import Callable
from functools import cache

import jax
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.draw import Draw
from sharding.kept import Kept
from sharding.mesh import make_mesh
from sharding.sampling import Drawn, sample
from tests.sharding.drawing import draw_of, kept_of

VOCAB = 61
ROWS = 4


@cache
def compiled(max_logprobs: int) -> Callable[[jax.Array | np.ndarray, Draw, Kept[jax.Array]], Drawn]:
    return jax.jit(lambda logits, draw, kept: sample(logits, draw, kept, max_logprobs))


def run(logits: npt.ArrayLike, *, temperature: npt.ArrayLike = 1.0, **values: npt.ArrayLike) -> Drawn:
    logits = np.atleast_2d(np.asarray(logits, np.float32))
    rows = len(logits)
    drawn: Drawn = jax.device_get(compiled(5)(logits, draw_of(rows, temperature=temperature, **values), kept_of(rows)))
    return drawn


def test_every_token_that_is_kept_is_drawn_and_no_other() -> None:
    logits = np.array([1.0, 3.0, 2.0, 3.0, 0.5, 2.0, -1.0, -2.0] + [-9.0] * (VOCAB - 8))

    def drawn(**options: float) -> set[int]:
        return set(run(np.tile(logits, (512, 1)), seed=np.arange(512), **options).token_ids.tolist())

    assert drawn(top_k=1) == drawn(top_p=0.3) == {1, 3}
    assert drawn(top_k=3) == drawn(top_p=0.8) == {1, 2, 3, 5}
    assert drawn(top_k=2, top_p=0.8) == {1, 3}
    assert drawn(min_p=1.0) == {1, 3}
    assert drawn(min_p=0.36) == {1, 2, 3, 5}  # those two have 0.368 of the probability of the likeliest
    assert drawn(min_p=0.37, top_k=3) == {1, 3}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution_of_the_temperature(temperature: float) -> None:
    logits = np.random.default_rng(1).normal(size=8)
    draws = 8192
    sampled = run(np.tile(logits, (draws, 1)), temperature=temperature, seed=np.arange(draws))
    p = np.exp(logits / temperature)
    expected = draws * p / p.sum()
    observed = np.bincount(sampled.token_ids, minlength=8)
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 24.3  # 0.1% of fair draws exceed this at 7 degrees of freedom; the seeds are fixed


def test_positions_of_one_seed_draw_independently() -> None:
    draws = 4096
    sampled = run(np.zeros((draws, 8)), seed=7, positions=np.arange(draws)).token_ids
    pairs = np.bincount(sampled[:-1] * 8 + sampled[1:], minlength=64)
    assert (((pairs - draws / 64) ** 2) / (draws / 64)).sum() < 103.4  # 0.1% at 63 degrees of freedom


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 8000), st.integers(0, ROWS - 1))
def test_a_draw_is_the_same_alone_and_in_a_batch(seed: int, position: int, row: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(ROWS, VOCAB)).astype(np.float32)
    options = {
        "temperature": np.array([0.7, 0.0, 1.5, 1.0]),
        "top_k": np.array([0, 3, 10, 0]),
        "top_p": np.array([0.9, 1.0, 1.0, 0.5]),
        "seed": np.array([seed, 1, seed, 3], np.uint32),
        "positions": np.array([position, 5, position, 9]),
    }
    together = run(logits, **options)
    alone = run(logits[row], **{name: value[row] for name, value in options.items()})
    assert together.token_ids[row] == alone.token_ids[0]


def test_greedy_rows_take_the_first_maximum_whatever_the_other_rows_do() -> None:
    logits = np.zeros((3, VOCAB))
    logits[:, [7, 20]] = 5.0
    sampled = run(logits, temperature=[0.0, 3.0, 0.0], seed=[1, 2, 3])
    assert sampled.token_ids[0] == sampled.token_ids[2] == 7


def test_logits_that_are_not_numbers_give_no_token() -> None:
    logits = np.zeros(VOCAB)
    logits[3] = np.nan
    assert run(logits, temperature=0.0).token_ids[0] == VOCAB


def test_log_probabilities_are_of_the_unchanged_distribution() -> None:
    logits = np.random.default_rng(3).normal(size=(2, VOCAB)).astype(np.float32) * 4
    drawn = run(logits, temperature=0.3, top_k=2, seed=[1, 2], wants_logprobs=[0, 1])
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    best = np.argsort(-exact, axis=-1)[:, :5]
    for row in range(2):
        assert (drawn.top_ids[row] == best[row]).all()
        np.testing.assert_allclose(drawn.top_logprobs[row], exact[row, best[row]], atol=1e-5)
        np.testing.assert_allclose(drawn.logprobs[row], exact[row, drawn.token_ids[row]], atol=1e-5)


def test_sharded_logits_draw_the_same_tokens() -> None:
    sharding = jax.sharding.NamedSharding(make_mesh(4), jax.sharding.PartitionSpec(None, "tensor"))
    logits = np.random.default_rng(0).normal(size=(ROWS, 64)).astype(np.float32)
    draw = draw_of(
        ROWS,
        positions=range(ROWS),
        temperature=[0.0, 1.0, 1.0, 0.8],
        top_k=[0, 0, 5, 0],
        top_p=[1.0, 1.0, 1.0, 0.6],
        min_p=[0.0, 0.2, 0.0, 0.0],
        seed=range(ROWS),
        has_penalties=[0, 1, 0, 1],
        presence_penalty=[0.0, 1.0, 0.0, -0.5],
        repetition_penalty=[1.0, 1.5, 1.0, 1.0],
        num_biases=[0, 0, 2, 0],
    )
    kept = kept_of(ROWS, [[5, 9, 9, 60]] * ROWS, [[(1, 3.0), (63, -np.inf)]] * ROWS)
    split, whole = compiled(5)(jax.device_put(logits, sharding), draw, kept), compiled(5)(logits, draw, kept)
    assert (split.token_ids == whole.token_ids).all()
    assert (split.top_ids == whole.top_ids).all()
