"""What an operator is told of two runs over the same tasks."""

import re

import pytest

from serving.evaluation.comparison import (
    BETTER,
    NO_WORSE,
    OPEN,
    WORSE,
    conclusion,
    differing_settings,
    left_out,
    mcnemar,
    pair,
)
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
    assert conclusion([pairs["better"], pairs["same"]]).startswith("B can take A's place")
    assert conclusion([pairs["same"], few]).startswith("Keep A for now: not decided in few")
    assert conclusion([few, pairs["worse"], pairs["better"]]) == "Keep A: B solves less in worse."
    assert few.needed > 1000


def test_what_is_worse_within_the_margin_is_no_worse() -> None:
    first = [True] * 1000 + [False] * 1000
    second = [False] * 20 + first[20:]
    assert verdict(first, second) == NO_WORSE
    assert verdict(first, second, margin=0.005) == WORSE


def test_verdicts_are_told_in_points() -> None:
    half = [True, False] * 100
    for second, margin, sentence in (
        ([True] * 200, 0.02, r"better: B solves 4\d\.\d to 5\d\.\d points more"),
        ([False] * 200, 0.02, r"worse: B solves 4\d\.\d to 5\d\.\d points less"),
        (half, 0.02, r"no worse: B solves at most \d\.\d points less, within the margin of 2"),
        (
            half,
            0.001,
            r"not decided: B may solve up to \d\.\d points less, beyond the margin of 0\.1; about [\d,]+ tasks",
        ),
    ):
        found = pair("set", results(half), results(second), margin)
        assert found
        assert re.match(sentence, found.sentence()), found.sentence()


def test_the_margin_that_would_decide_is_named_and_does() -> None:
    few = [True, False] * 10
    found = pair("set", results(few), results(few), 0.02)
    assert found
    enough = float(re.findall(r"--margin ([\d.]+)", conclusion([found]))[0])
    again = pair("set", results(few), results(few), enough / 100)
    assert again
    assert again.verdict == NO_WORSE


def test_tasks_of_only_one_run_are_reported() -> None:
    first, second = results([True] * 5), results([True] * 3)
    assert left_out(first, second) == ["set: 2 of the 5 tasks of A are left out, as B has not done them"]
    assert left_out(second, first) == ["set: 2 of the 5 tasks of B are left out, as A has not done them"]
    assert not left_out(first, first)


def test_settings_that_differ_are_told_for_sets_that_both_have() -> None:
    first = {"model": "a", "max_tokens": {"x": 1, "y": 2}, "post_processing": True}
    second = {"model": "b", "max_tokens": {"x": 3}, "post_processing": False}
    assert differing_settings(first, second) == ["max_tokens of x: 1, 3", "post_processing: True, False"]
