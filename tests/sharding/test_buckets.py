"""Which sizes of steps are compiled."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.batch import make_buckets
from sharding.buckets import bucket_sizes

dtypes = st.sampled_from(["float32", "bfloat16"])


@given(st.sampled_from(["cpu", "gpu", "tpu"]), dtypes, st.integers(1, 300), st.integers(16, 5000))
def test_buckets_hold_every_step_within_the_limits(
    platform: str, dtype: str, max_rows: int, max_step_tokens: int
) -> None:
    sizes = bucket_sizes(platform, dtype, max_rows, max_step_tokens)
    assert sizes.decode_rows[-1] == max_rows
    assert sizes.mixed_tokens[-1] >= max_step_tokens
    assert sizes.mixed_tokens[0] > max_rows
    assert all(smaller < larger for each in sizes for smaller, larger in pairwise(each))


@given(st.sampled_from(["cpu", "gpu", "tpu"]), dtypes, st.integers(1, 300), st.integers(16, 5000))
def test_a_mixed_step_never_pays_for_more_than_twice_its_tokens_beyond_the_first_bucket(
    platform: str, dtype: str, max_rows: int, max_step_tokens: int
) -> None:
    sizes = bucket_sizes(platform, dtype, max_rows, max_step_tokens).mixed_tokens
    assert all(larger <= 2 * smaller for smaller, larger in pairwise(sizes))


@pytest.mark.parametrize(("max_rows", "max_step_tokens"), [(32, 1024), (16, 1024)])
def test_on_accelerators_few_shapes_are_compiled(max_rows: int, max_step_tokens: int) -> None:
    for platform in ("gpu", "tpu"):
        sizes = bucket_sizes(platform, "bfloat16", max_rows, max_step_tokens)
        assert len(sizes.decode_rows) + len(sizes.mixed_tokens) <= 8


def test_a_tpu_never_runs_a_single_row() -> None:
    assert bucket_sizes("tpu", "bfloat16", 32, 1024).decode_rows[0] == 8


def test_on_a_cpu_one_row_is_padded_to_two_unless_it_is_float32() -> None:
    assert bucket_sizes("cpu", "bfloat16", 8, 256).decode_rows == [2, 4, 8]
    assert bucket_sizes("cpu", "float32", 8, 256).decode_rows == [1, 2, 4, 8]


def test_on_a_gpu_one_row_is_padded_to_two_if_matrices_are_quantised() -> None:
    assert bucket_sizes("gpu", "bfloat16", 8, 256, quantised=True).decode_rows == [2, 8]
    assert bucket_sizes("gpu", "bfloat16", 8, 256).decode_rows == [1, 4, 8]


def test_each_bucket_has_a_page_table_for_the_longest_sequence() -> None:
    buckets = make_buckets(bucket_sizes("tpu", "bfloat16", 16, 256), max_rows=16, max_pages=4)
    assert [(each.tokens, each.rows, each.pages) for each in buckets] == [
        (8, 8, 4),
        (16, 16, 4),
        (128, 16, 4),
        (256, 16, 4),
    ]
