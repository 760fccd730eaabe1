"""The slope of a process's memory: its interval says whether it is flat."""

import subprocess
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.memory_growth import MemoryGrowth, slope_of

SECONDS = np.arange(300.0, 4 * 3600, 10)


@pytest.mark.parametrize(("mib_per_hour", "verdict"), [(0, "flat"), (5, "flat"), (30, "grows"), (-40, "flat")])
def test_four_hours_of_memory_that_goes_up_and_down_say_whether_it_grows(mib_per_hour: float, verdict: str) -> None:
    waves = 15 * np.sin(SECONDS / 200) + np.random.default_rng(0).normal(0, 5, len(SECONDS))
    slope = slope_of(SECONDS, 500 + mib_per_hour * SECONDS / 3600 + waves)
    assert slope.low < mib_per_hour < slope.high
    assert slope.verdict == verdict


def test_ten_minutes_of_it_decide_nothing() -> None:
    few = SECONDS[:60]
    slope = slope_of(few, 500 + np.random.default_rng(0).normal(0, 15, len(few)))
    assert slope.verdict == "not decided"


def test_memory_that_a_process_allocates_is_sampled_and_what_has_ended_is_not() -> None:
    growth, own = MemoryGrowth(), psutil.Process()
    with subprocess.Popen(["true"]) as ended:
        ended_process = psutil.Process(ended.pid)
    held = []
    for at in range(0, 1200, 10):
        held.append(mmap(-1, 1 << 20, MAP_PRIVATE | MAP_ANONYMOUS))  # every ten seconds, and none that was free already
        held[-1].write(b"1" * (1 << 20))
        growth.sample(at, [("own", own), ("ended", ended_process)])
    [(name, _, slope, _, verdict)] = growth.rows()
    assert (name, verdict) == ("own", "grows")
    assert float(slope) == pytest.approx(360, rel=0.2)


@settings(deadline=None, max_examples=20)
@given(st.floats(-1e3, 1e3), st.floats(0, 1e5), st.integers(30, 300))
def test_of_a_line_the_slope_is_its_own(mib_per_hour: float, start: float, samples: int) -> None:
    seconds = SECONDS[:samples]
    slope = slope_of(seconds, start + mib_per_hour * seconds / 3600)
    assert slope == pytest.approx((mib_per_hour,) * 3, abs=1e-3)
