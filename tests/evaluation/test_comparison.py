"""What an operator is told of two runs over the same tasks."""

import pytest

from serving.evaluation.comparison import BETTER, NO_WORSE, OPEN, WORSE, conclusion, mcnemar, pair
from serving.evaluation.run_directory import Result


def results(passed: list[bool]) -> list[Result]:
    return [
        Result(
            task_set="set", task=str(n), problem=str(n), answer="", finish_reason="stop",
            how="passed" if each else "failed", detail="", prompt_tokens=1, completion_tokens=1, cached_tokens=0,
            started=float(n), seconds=1.0,
        )
        for n, each in enumerate(passed)
    ]  # fmt: skip


def verdict(first: list[bool], second: list[bool], margin: float = 0.02) -> str:
    found = pair("set", results(first), results(second), margin)
    assert found
    return found.verdict


def test_verdicts() -> None:
    half = [True, False] * 100
    assert verdict(half, [True] * 200) == BETTER
    assert verdict(half, [False] * 200) == WORSE
    assert verdict(half * 10, half * 10) == NO_WORSE
    assert verdict(half[:20], half[:20]) == OPEN
    assert verdict(half[:20], half[:20], margin=0.3) == NO_WORSE


def test_tasks_are_paired_by_name_and_others_left_out() -> None:
    first, second = results([True, False, True]), list(reversed(results([True, True, False, True])))
    found = pair("set", first, second, 0.02)
    assert found
    assert (found.tasks, found.first, found.second, found.only_first, found.only_second) == (3, 2, 2, 1, 1)
    assert pair("set", first, [], 0.02) is None


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375), (9, 1, 0.021484375)],
)
def test_mcnemar_is_a_two_sided_binomial_test(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)


def test_the_conclusion_follows_the_worst_set() -> None:
    half = [True, False] * 1000
    pairs = {
        name: found
        for name, second in (("same", half), ("worse", [False] * 2000), ("better", [True] * 2000))
        if (found := pair(name, results(half), results(second), 0.02))
    }
    few = pair("few", results(half[:10]), results(half[:10]), 0.02)
    assert few
    assert conclusion([pairs["better"]]) == "Take B: it solves more in every set."
    assert conclusion([pairs["better"], pairs["same"]]).startswith("B can replace A")
    assert conclusion([pairs["same"], few]).startswith("Not decided in few")
    assert conclusion([few, pairs["worse"], pairs["better"]]) == "Keep A: B solves less in worse."
    assert few.needed > 1000
