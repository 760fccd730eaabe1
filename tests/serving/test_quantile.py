"""The one quantile: the nearest rank."""

import subprocess
import sys
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.quantile import quantile


def test_the_quantile_is_a_value_that_occurred() -> None:
    assert [quantile([1, 2, 3, 4], q) for q in (0, 0.25, 0.5, 0.95, 1)] == [1, 1, 2, 4, 4]
    assert quantile([1, 2], 0.5) == 1
    assert quantile([], 0.5) is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_it_is_the_smallest_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    values.sort()
    found = quantile(values, percent / 100)
    rank = ceil(Fraction(percent * len(values), 100))
    assert found in values
    assert sum(value <= found for value in values) >= rank
    assert sum(value < found for value in values) < rank


@pytest.mark.parametrize("percent", range(101))
@pytest.mark.parametrize("count", [1, 20, 100, 10_000])
def test_rounding_does_not_move_the_rank(percent: int, count: int) -> None:
    # 0.07 * 100 is a little more than 7 in floating point.
    assert quantile(range(1, count + 1), percent / 100) == max(1, ceil(Fraction(percent * count, 100)))


def test_it_needs_neither_jax_nor_ray() -> None:
    script = "import sys, serving.quantile; print({'jax', 'ray'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout == "set()\n", ended.stderr
