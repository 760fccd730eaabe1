"""Scrape and Window: what is read from Prometheus' text format, summed and compared."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.telemetry.metrics import KV_USED_RATIO, QUEUE_DEPTH, REQUESTS, TIME_TO_FIRST_TOKEN
from serving.telemetry.scrape import Scrape, Window


def gauges(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def histogram(observed: list[float]) -> str:
    """What an exporter says that observed these seconds."""
    name = TIME_TO_FIRST_TOKEN.exported[0]
    lines = [f"# TYPE {name.removesuffix('_bucket')} histogram"]
    for bound in (*TIME_TO_FIRST_TOKEN.buckets, math.inf):
        label = "+Inf" if bound == math.inf else f"{bound}"
        lines.append(f'{name}{{model="m",le="{label}"}} {sum(value <= bound for value in observed)}')
    return gauges(*lines)


NOTHING = Scrape(0.0, {})


def test_values_of_several_processes_and_nodes_add_up() -> None:
    node = gauges(
        'ray_codegemma_queue_depth{model="m",priority="urgent",WorkerId="a"} 2',
        'ray_codegemma_queue_depth{model="m",priority="urgent",WorkerId="b"} 3',
        'ray_codegemma_queue_depth{model="other",priority="urgent",WorkerId="c"} 7',
    )
    scrape = Scrape.parse([node, node], at=0.0)
    assert scrape.total(QUEUE_DEPTH, model="m") == 10
    assert scrape.total(QUEUE_DEPTH, model="m", priority="normal") == 0
    assert scrape.names(QUEUE_DEPTH, "model") == {"m", "other"}


def test_the_fullest_group_counts() -> None:
    text = gauges('ray_codegemma_kv_used_ratio{model="m"} 0.2', 'ray_codegemma_kv_used_ratio{model="m"} 0.7')
    assert Scrape.parse([text], at=0.0).most(KV_USED_RATIO, model="m") == 0.7
    assert NOTHING.most(KV_USED_RATIO, model="m") == 0


def test_a_rate_is_what_a_counter_grew_by_in_a_second() -> None:
    before, now = (
        Scrape.parse([f'ray_codegemma_requests_total{{model="m"}} {count}'], at)
        for at, count in ((10.0, 5), (14.0, 13))
    )
    assert Window(before, now).rate(REQUESTS, model="m") == 2
    assert Window(now, before).rate(REQUESTS) == 0  # a process that is gone took its counts along
    assert Window(now, now).rate(REQUESTS) == 0


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError):
        Scrape.parse(["<html>not at all</html> {"], at=0.0)


@settings(deadline=None)
@given(
    earlier=st.lists(st.floats(0.0001, 100), max_size=20),
    observed=st.lists(st.floats(0.0001, 100), min_size=1, max_size=50),
    q=st.floats(0.01, 1),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(earlier: list[float], observed: list[float], q: float) -> None:
    before = Scrape.parse([histogram(earlier)], 0.0)
    now = Scrape.parse([histogram(earlier + observed)], 1.0)
    estimate = Window(before, now).quantile(TIME_TO_FIRST_TOKEN, q, model="m")
    true = sorted(observed)[max(0, math.ceil(q * len(observed)) - 1)]
    bounds = (0.0, *TIME_TO_FIRST_TOKEN.buckets)
    low = max(bound for bound in bounds if bound < true)
    high = min((bound for bound in bounds if bound >= true), default=bounds[-1])
    assert estimate is not None
    assert low <= estimate <= high or math.isclose(estimate, low)


def test_of_nothing_there_is_no_quantile() -> None:
    scrape = Scrape.parse([histogram([0.1])], 0.0)
    assert Window(scrape, scrape).quantile(TIME_TO_FIRST_TOKEN, 0.5) is None
    assert Window(NOTHING, NOTHING).quantile(TIME_TO_FIRST_TOKEN, 0.5) is None
