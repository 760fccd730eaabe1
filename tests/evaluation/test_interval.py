"""Confidence intervals contain what they should, as often as they say."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.evaluation.interval import difference_interval, score_interval

VALUES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=50)


def test_the_score_interval_is_agrestis_and_coulls() -> None:
    low, high = score_interval([(str(n), float(n < 8)) for n in range(10)])
    assert (low, high) == pytest.approx(
        (10 / 14 - 1.959964 * (10 * 4 / 14**3) ** 0.5, 10 / 14 + 1.959964 * (40 / 14**3) ** 0.5)
    )


@given(VALUES)
def test_the_difference_of_swapped_runs_is_the_opposite(values: list[float]) -> None:
    low, high = difference_interval([(str(n), value) for n, value in enumerate(values)])
    other = difference_interval([(str(n), -value) for n, value in enumerate(values)])
    assert (-high, -low) == pytest.approx(other)
    assert -1 <= low <= high <= 1


@given(VALUES)
def test_tasks_of_one_problem_make_no_narrower_interval_than_as_many_problems(values: list[float]) -> None:
    apart = difference_interval([(f"{n} {copy}", value) for n, value in enumerate(values) for copy in range(5)])
    together = difference_interval([(str(n), value) for n, value in enumerate(values) for _ in range(5)])
    assert together[1] - together[0] >= apart[1] - apart[0] - 1e-9


def test_nothing_differs_in_ten_tasks_does_not_mean_that_nothing_does() -> None:
    low, high = difference_interval([(str(n), 0.0) for n in range(10)])
    assert low < -0.1
    assert high > 0.1


@pytest.mark.parametrize("tasks", [1, 6])
def test_95_of_100_intervals_contain_the_difference(tasks: int) -> None:
    draw = random.Random(1)
    held = 0
    for _ in range(400):
        values = []
        for problem in range(60):
            gain = draw.choices([-1.0, 0.0, 1.0], [0.1, 0.7, 0.2])[0]  # alike for all tasks of the problem
            values += [(str(problem), gain)] * tasks
        low, high = difference_interval(values)
        held += low <= 0.1 <= high
    assert held / 400 > 0.92
