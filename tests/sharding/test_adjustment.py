"""Biases and penalties against plain Python, alone and as parts of a whole draw, and on every kind of device."""

import math
from collections import Counter
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding import adjustment
from sharding.adjustment import adjusted
from sharding.draw import Draw
from sharding.kept import Kept
from sharding.mesh import make_mesh
from sharding.sampling import Drawn, sample
from sharding.step import SamplingParams
from tests.sharding.drawing import MAX_CONTEXT, draw_of, kept_of

VOCAB, ROWS = 64, 4
tokens = st.integers(0, VOCAB - 1)
sampling_params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    top_k=st.sampled_from([0, 1, 5]),
    top_p=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    presence_penalty=st.sampled_from([0.0, 0.0, 1.5, -2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.5, -0.25]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3, 0.5]),
    penalty_window=st.sampled_from([None, None, 1, 3, MAX_CONTEXT]),
    logit_bias=st.dictionaries(tokens, st.sampled_from([-math.inf, -3.0, 0.5, 50.0]), max_size=5).map(
        lambda biases: tuple(biases.items())
    ),
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[SamplingParams, list[int], int]:
    """How a row draws, its tokens so far, and how many of these are its prompt."""
    token_ids = draw(st.lists(tokens | st.integers(0, 3), min_size=1, max_size=MAX_CONTEXT - 1))
    return draw(sampling_params), token_ids, draw(st.integers(1, len(token_ids)))


def oracle_logits(logits: npt.NDArray[np.float32], row: tuple[SamplingParams, list[int], int]) -> list[float]:
    """The adjusted logits of one row, number by number."""
    sampling, token_ids, prompt_tokens = row
    if sampling.penalty_window is None:
        additive, repeated = Counter(token_ids[prompt_tokens:]), set(token_ids)
    else:
        additive = Counter(token_ids[-sampling.penalty_window :])
        repeated = set(additive)
    biases = dict(sampling.logit_bias)
    expected = []
    for token_id, number in enumerate(logits.tolist()):
        number += biases.get(token_id, 0.0)
        if token_id in repeated:
            number = number / sampling.repetition_penalty if number > 0 else number * sampling.repetition_penalty
        number -= sampling.frequency_penalty * additive[token_id]
        number -= sampling.presence_penalty * (token_id in additive)
        expected.append(number)
    return expected


def oracle_kept(logits: list[float], sampling: SamplingParams) -> tuple[set[int], set[int]]:
    """The tokens that a row may draw, and those that rounding might add: by sorting."""
    scaled = np.asarray(logits) / sampling.temperature
    order = np.argsort(-scaled, kind="stable")
    p = np.exp(scaled - scaled.max())

    def kept(slack: float) -> set[int]:
        lowest = [p[order[sampling.top_k - 1]]] if sampling.top_k else [0.0]
        left = [token_id for token_id in order if p[token_id] >= lowest[0]]
        if sampling.top_p < 1:
            target = max(sampling.top_p * p[left].sum() * (1 + slack), 0)
            reached = int(np.searchsorted(np.cumsum(p[left]), target))
            lowest.append(p[left[min(reached, len(left) - 1)]])
        lowest.append(sampling.min_p)
        return {token_id for token_id in range(len(p)) if p[token_id] >= max(lowest) * (1 - slack)}

    return kept(-1e-5), kept(1e-5)


def arrays(batch: list[tuple[SamplingParams, list[int], int]]) -> tuple[Draw, Kept[jax.Array]]:
    """The `Draw` and what is kept of a batch."""
    params = [sampling for sampling, _, _ in batch]
    names = "temperature top_k top_p min_p seed has_penalties presence_penalty frequency_penalty repetition_penalty"
    draw = draw_of(
        len(batch),
        positions=[len(token_ids) for _, token_ids, _ in batch],
        prompt_tokens=[prompt_tokens for _, _, prompt_tokens in batch],
        penalty_window=[sampling.penalty_window or 0 for sampling in params],
        num_biases=[len(sampling.logit_bias) for sampling in params],
        **{name: [getattr(sampling, name) for sampling in params] for name in names.split()},
    )
    return draw, kept_of(len(batch), [ids for _, ids, _ in batch], [sampling.logit_bias for sampling in params])


@cache
def compiled(devices: int) -> Callable[[npt.NDArray[np.float32], Draw, Kept[jax.Array]], tuple[jax.Array, Drawn]]:
    sharding = jax.sharding.NamedSharding(make_mesh(devices), jax.sharding.PartitionSpec(None, "tensor"))

    def run(logits: jax.Array, draw: Draw, kept: Kept[jax.Array]) -> tuple[jax.Array, Drawn]:
        logits = jax.lax.with_sharding_constraint(logits, sharding)
        return adjusted(logits, draw, kept), sample(logits, draw, kept, 3)

    return jax.jit(run)


@settings(deadline=None, max_examples=60)
@given(st.lists(rows(), min_size=ROWS, max_size=ROWS), st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 8]))
def test_the_whole_chain_is_that_of_plain_python_alone_and_in_a_batch_on_any_number_of_devices(
    batch: list[tuple[SamplingParams, list[int], int]], seed: int, devices: int
) -> None:
    logits = (np.random.default_rng(seed).normal(size=(ROWS, VOCAB)) * 3).astype(np.float32)
    changed, drawn = compiled(devices)(logits, *arrays(batch))
    for row, each in enumerate(batch):
        expected = oracle_logits(logits[row], each)
        np.testing.assert_allclose(np.asarray(changed)[row], expected, rtol=1e-5, atol=1e-5)
        if not each[0].has_penalties and not each[0].logit_bias:
            assert (np.asarray(changed)[row] == logits[row]).all(), "bit for bit"
        token_id = int(drawn.token_ids[row])
        if each[0].temperature == 0:
            assert token_id == int(np.asarray(changed)[row].argmax())
        else:
            assert token_id in set.union(*oracle_kept(np.asarray(changed)[row].tolist(), each[0]))
        alone = compiled(1)(np.repeat(logits[row : row + 1], ROWS, axis=0), *arrays([each] * ROWS))[1]
        assert alone.token_ids.tolist() == [token_id] * ROWS
        exact = logits[row] - np.log(np.exp(logits[row].astype(np.float64)).sum())
        np.testing.assert_allclose(drawn.logprobs[row], exact[token_id], atol=1e-4)  # of the unchanged logits


@cache
def counts(vocab_size: int) -> list[Callable[[jax.Array, jax.Array], jax.Array]]:
    return [
        jax.jit(partial(count, shape=(2, vocab_size))) for count in (adjustment._by_product, adjustment._by_scatter)
    ]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(tokens | st.integers(0, 2), min_size=16, max_size=16), min_size=2, max_size=2), st.data())
@pytest.mark.parametrize("vocab_size", [VOCAB, 300])
def test_counting_by_product_as_on_tpus_is_counting(
    vocab_size: int, token_ids: list[list[int]], data: st.DataObject
) -> None:
    weight = st.sampled_from([0.0, 1.0, adjustment._OF_PROMPT])
    weights = data.draw(st.lists(st.lists(weight, min_size=16, max_size=16), min_size=2, max_size=2))
    arguments = jnp.asarray(token_ids), jnp.asarray(weights, jnp.float32)
    product, scatter = counts(vocab_size)
    assert (product(*arguments) == scatter(*arguments)).all()


def test_the_longest_prompt_shows_and_counts_for_nothing() -> None:
    assert 0 < 131_072 * adjustment._OF_PROMPT < 1
    counts = jnp.asarray([[5] * 100 + [6] * 3]), jnp.asarray([[adjustment._OF_PROMPT] * 100 + [1.0] * 3])
    came = adjustment._by_scatter(*counts, shape=(1, 8))
    assert (came > 0).tolist() == [[False] * 5 + [True] * 2 + [False]]
    assert jnp.floor(came).tolist() == [[0] * 6 + [3, 0]]


@pytest.mark.parametrize("devices", [1, 8])
def test_logits_that_are_not_numbers_give_no_token_whatever_changes_them(devices: int) -> None:
    logits = np.full((ROWS, VOCAB), np.nan, np.float32)
    sampling = SamplingParams(presence_penalty=1.0, min_p=0.5, temperature=1.0, logit_bias=((3, -math.inf), (4, 50.0)))
    _, drawn = compiled(devices)(logits, *arrays([(sampling, [3, 4], 1)] * ROWS))
    assert drawn.token_ids.tolist() == [VOCAB] * ROWS
