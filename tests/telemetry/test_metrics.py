"""The list of metrics: sound in itself, and the same that the documentation gives."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from serving.telemetry.metrics import EXPORTED, METRICS, Metric

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch("codegemma_[a-z_]+", metric.name)
    assert metric.help.endswith(".")
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert not metric.name.endswith(("_total", "_bucket", "_sum", "_count"))


def test_no_name_is_there_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert len(EXPORTED) == sum(len(metric.exported) for metric in METRICS)


def test_latencies_are_told_apart_from_5_ms_to_5_s() -> None:
    latencies = [metric for metric in METRICS if metric.kind == "histogram" and "role" in metric.labels]
    assert latencies
    for metric in latencies:
        between = [bound for bound in metric.buckets if 0.005 <= bound <= 5]
        assert (between[0], between[-1]) == (0.005, 5)
        assert all(high / low <= 2 for low, high in pairwise(between))


def test_the_documentation_lists_them_all_as_they_are() -> None:
    row = r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$"
    rows = {name: tuple(rest) for name, *rest in re.findall(row, DOCS.read_text(), re.M)}
    suffix = {"counter": "_total"}
    assert rows == {
        f"ray_{metric.name}{suffix.get(metric.kind, '')}": (metric.kind, ", ".join(metric.labels), metric.help)
        for metric in METRICS
    }
