"""The simulator: nothing is lost, and it behaves like what it stands for."""

import random
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.serve.autoscaling_policy import _apply_delay_logic
from ray.serve.config import AutoscalingConfig as RayAutoscalingConfig

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.delays import Delays
from serving.autoscaling.pace import Pace
from serving.autoscaling.simulation import Day, GroupModel, simulate
from serving.autoscaling.traffic import DAY_S, OfficeDay, Request, active_part

MS = Pace(step_s=0.001, row_s=0, prompt_token_s=0, step_tokens=1024)
"""A token of each row a millisecond, however many rows there are: tokens are times."""
GROUP = GroupModel(rows=4, max_ongoing=4, start_s=60, pace=MS, first_token_s=0.1)
OFFICE = OfficeDay(users=20, requests_per_hour=120, generated=4000, seed=1)


def fixed(groups: int) -> AutoscalingConfig:
    return AutoscalingConfig(min_replicas=groups, max_replicas=groups)


def burst(at: float, count: int, service_s: float) -> list[Request]:
    return [Request(at, 1000 * service_s)] * count


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return OFFICE.requests()


@pytest.fixture(scope="module")
def day(requests: list[Request]) -> Day:
    return simulate(requests, AutoscalingConfig(min_replicas=1, max_replicas=4), GROUP)


def test_requests_come_in_order_within_the_day_and_are_those_of_their_seed(requests: list[Request]) -> None:
    assert all(first.arrival_s <= second.arrival_s for first, second in pairwise(requests))
    assert 0 <= requests[0].arrival_s < requests[-1].arrival_s < DAY_S
    assert OFFICE.requests() == requests
    assert replace(OFFICE, seed=2).requests() != requests


def test_the_number_of_requests_is_that_of_the_developers_at_work(requests: list[Request]) -> None:
    at_work_h = sum(active_part(minute * 60.0) for minute in range(24 * 60)) / 60
    # 2.5 standard deviations of a Poisson process of bursts with a mean of 6
    assert len(requests) == pytest.approx(20 * 120 * at_work_h, rel=0.06)


def test_lunch_is_quieter_than_the_morning() -> None:
    assert active_part(12.5 * 3600) < active_part(10.5 * 3600) / 2
    assert active_part(0) == active_part(DAY_S - 1) == 0.01


def test_every_request_is_served_or_waits(requests: list[Request], day: Day) -> None:
    assert day.requests == len(requests)
    assert day.waiting == 0
    assert day.first_token_s[0] == pytest.approx(GROUP.first_token_s, abs=0.002)


def test_what_never_gets_a_row_is_counted_as_waiting() -> None:
    day = simulate(burst(500, 10, service_s=1000), fixed(1), GROUP, end_s=600)
    assert (len(day.first_token_s), day.waiting, day.requests) == (4, 6, 10)
    assert day.part_within(1.0) == 0.4


def test_equal_arguments_give_an_equal_day(requests: list[Request], day: Day) -> None:
    assert simulate(requests, AutoscalingConfig(min_replicas=1, max_replicas=4), GROUP) == day


def test_groups_come_for_the_work_and_go_after_it(day: Day) -> None:
    assert day.intervals[0].replicas == day.intervals[-1].replicas == 1
    assert 1 < day.most_replicas <= 4
    assert 24 < day.replica_hours < 24 * day.most_replicas


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_more_groups_never_make_anyone_wait_longer(seed: int, groups: int) -> None:
    rng = random.Random(seed)
    requests = sorted(Request(rng.uniform(0, 300), 1000 * rng.expovariate(1 / 10)) for _ in range(400))
    fewer, more = (simulate(requests, fixed(count), GROUP, end_s=3000) for count in (groups, groups + 1))
    steps_s = 0.01
    assert all(b <= a + steps_s for a, b in zip(fewer.first_token_s, more.first_token_s, strict=True))
    for few, many in zip(fewer.intervals, more.intervals, strict=True):
        assert (many.p95_s or 0) <= (few.p95_s or 0) + steps_s


def test_a_burst_is_spread_over_the_groups_that_it_starts() -> None:
    """60 requests of 40 s on 4 rows: the 56 that wait go to new groups, which start in 60 s."""
    settings = AutoscalingConfig(min_replicas=1, max_replicas=8, upscale_delay_s=1, downscale_delay_s=30)
    day = simulate(burst(300, 60, service_s=40), settings, GROUP, end_s=1800)
    assert day.most_replicas == 8  # 60 / (4 rows + 4 queued)
    # first group: 4 at once, 4 after 40 s; all eight: 28 and 4 from about 65 s; the last 20 by 110 s
    assert day.first_token_s[-1] < 120
    assert day.intervals[-1].replicas == 1


def test_work_that_is_assigned_does_not_move() -> None:
    """The same burst, all of it assigned to the first group: the new ones have nothing to do."""
    settings = AutoscalingConfig(min_replicas=1, max_replicas=8, upscale_delay_s=1, downscale_delay_s=30)
    day = simulate(burst(300, 60, service_s=40), settings, replace(GROUP, max_ongoing=100), end_s=1800)
    assert day.most_replicas == 8
    assert day.first_token_s[-1] == pytest.approx(14 * 40 + 0.1, abs=0.5)  # 15 times 4 rows, one after the other


def test_zero_groups_start_one_for_the_first_request_and_stop_it_afterwards() -> None:
    settings = AutoscalingConfig(min_replicas=0, max_replicas=2, downscale_delay_s=100, metrics_interval_s=1)
    day = simulate(burst(1000, 1, service_s=1), settings, GROUP, end_s=1800)
    assert day.first_token_s[0] == pytest.approx(60.6, abs=1.0)  # a decision is due each second
    # started for 60 s, idle for the delay
    assert day.replica_hours * 3600 == pytest.approx(163, abs=2)
    assert day.changes == 2


def test_a_stopped_group_finishes_what_it_has() -> None:
    settings = AutoscalingConfig(
        min_replicas=1, max_replicas=2, upscale_delay_s=0, downscale_delay_s=60, metrics_interval_s=1
    )
    # The burst starts a second group at 300 s and is done at 561 s; then each group gets one of two long requests.
    day = simulate([*burst(300, 16, service_s=100), *burst(570, 2, service_s=500)], settings, GROUP, end_s=1800)
    assert (len(day.first_token_s), day.waiting, day.changes) == (18, 0, 2)
    # One group would do from 561 s on, so one is stopped 60 s later; it is paid for until its request ends.
    assert day.replica_hours * 3600 == pytest.approx(1800 + 1070 - 300, abs=3)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.floats(0.1, 20)), max_size=40),
    st.floats(0, 30),
    st.floats(0, 60),
    st.integers(0, 6),
)
@settings(deadline=None)
def test_delays_are_those_of_ray_serve(
    wishes: list[tuple[int, float]], upscale_s: float, downscale_s: float, target: int
) -> None:
    config = RayAutoscalingConfig(max_replicas=9, upscale_delay_s=upscale_s, downscale_delay_s=downscale_s)
    delays = Delays(upscale_s=upscale_s, downscale_s=downscale_s)
    state: dict[str, object] = {}
    expected, now = target, 0.0
    for wish, pause in wishes:
        now += pause
        expected, state = _apply_delay_logic(wish, expected, config, state, _now=now)
        target = delays.follow(wish, target=target, now=now)
        assert target == expected


def test_the_slowest_hour_is_that_of_the_worst_first_tokens_and_answers() -> None:
    busy = replace(GROUP, pace=replace(MS, row_s=0.001), first_token_s=0.0)
    alone = [Request(at, 1000.0) for at in (10.0, 100.0, 200.0)]
    crowded = [Request(3600 + 0.01 * i, 1000.0) for i in range(5)]
    day = simulate([*alone, *crowded], fixed(1), busy, end_s=7200)
    first_s, rate = day.slowest_hour()
    assert first_s == pytest.approx(5, abs=0.5)  # the fifth waits for a row: 1000 tokens of 5 ms
    assert rate == pytest.approx(1000 / 5, rel=0.1)
    assert day.slowest_hour(is_urgent=True) == (0.0, inf)


def test_what_waits_at_the_end_was_never_served() -> None:
    day = simulate(burst(500, 10, service_s=1000), fixed(1), GROUP, end_s=600)
    assert day.slowest_hour()[0] == inf


def test_a_part_of_a_day_is_that_part() -> None:
    office = replace(OFFICE, start_s=9 * 3600.0, end_s=10 * 3600.0)
    requests = office.requests()
    assert all(9 * 3600 <= request.arrival_s < 10 * 3600 for request in requests)
    day = simulate(requests, fixed(2), GROUP, start_s=9 * 3600.0, end_s=10 * 3600.0)
    assert (len(day.intervals), day.intervals[0].start_s, day.replica_hours) == (12, 9 * 3600, 2)
    assert day.requests == len(requests)
