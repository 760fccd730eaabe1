"""What the suite reports."""

import math

import pytest

from tests.abuse.state import observed_stalls
from tests.abuse.suite import Fault, told

_SECONDS = {0.02: 5.0, 0.05: 7.0, 0.1: 7.0, math.inf: 7.0}


@pytest.mark.parametrize(
    ("now", "bound"),
    [
        ({0.02: 9.0, 0.05: 11.0, 0.1: 11.0, math.inf: 11.0}, 0.02),
        ({0.02: 9.0, 0.05: 12.0, 0.1: 12.0, math.inf: 12.0}, 0.05),
        ({0.02: 5.0, 0.05: 7.0, 0.1: 8.0, math.inf: 8.0}, 0.1),
        ({0.02: 5.0, 0.05: 7.0, 0.1: 7.0, math.inf: 8.0}, math.inf),
    ],
)
def test_the_longest_stall_is_below_the_bound_that_all_later_ones_are_below(
    now: dict[float, float], bound: float
) -> None:
    assert observed_stalls(_SECONDS, now) == bound


def test_faults_that_are_alike_are_one_line_with_the_command_for_the_first() -> None:
    faults = [Fault("json", index, f"input {index}", "an error that is not JSON") for index in (3, 5, 7)]
    [line] = told(faults, seed=9)
    assert line.split()[0] == "3"
    assert "input 3: an error that is not JSON" in line
    assert "--only json --seed 9 --index 3" in line


def test_no_kind_hides_another() -> None:
    many = [Fault("json", index, "", str(index) * 40) for index in range(10)]
    lines = list(told([*many, Fault("grpc", 1, "a", "b")], seed=9, each=2))
    assert sum("json" in line for line in lines) == 3
    assert "8 other sorts" in lines[-1]
    assert any("grpc: a: b" in line for line in lines)
