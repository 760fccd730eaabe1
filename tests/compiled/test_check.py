"""When `make tpu-check` fails."""

import re
from dataclasses import replace

import pytest

from compiled.check import problems
from compiled.figures import Figures
from compiled.steps import Step

DECODE = Step(rows=8, tokens=8)
GOOD = Figures(
    layers=2,
    memory=15_000_000_000,
    beside=50_000_000,
    program=5_000_000,
    not_aliased=0,
    traffic=5_000_000_000,
    minimum=4_950_000_000,
    copies=0,
    collectives=57,
    asynchronous=0,
    covered=1.0,
    milliseconds=7.9,
    top_p_milliseconds=0.3,
)


def found(figures: Figures, step: Step = DECODE, committed: Figures | None = GOOD) -> list[str]:
    return list(problems(step, figures, committed, reserved=60_000_000))


def test_a_step_as_committed_has_no_problem() -> None:
    assert found(GOOD) == []
    assert found(replace(GOOD, traffic=4_000_000_000, milliseconds=20.0)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": 17_000_000_000}, r"takes 17,000.0 MB of a chip's 16,911.4 MB"),
        ({"beside": 61_000_000}, r"takes 61.0 MB beside weights and cache, sizing keeps 60.0 MB"),
        ({"program": 31_000_000}, r"is a program of 31.0 MB"),
        ({"not_aliased": 1_000_000}, r"copies 1.0 MB of the KV cache"),
        ({"copies": 1}, r"makes 1 copies of more than 1 MB"),
        ({"traffic": 5_100_000_000}, r"moves 5,100.0 MB, the table allows 5,000.0 MB"),
    ],
    ids=["memory", "reserve", "program", "aliased", "copies", "traffic"],
)
def test_what_got_worse_is_named_with_figure_and_limit(change: dict[str, int], message: str) -> None:
    (problem,) = found(replace(GOOD, **change))
    assert re.search(message, problem)


def test_prefill_may_copy() -> None:
    assert found(replace(GOOD, copies=56), step=Step(rows=8, tokens=256)) == []


def test_a_step_that_the_table_lacks_is_a_problem() -> None:
    (problem,) = found(GOOD, committed=None)
    assert "is not in compiled/tpu-v5e.json" in problem
