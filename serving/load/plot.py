"""A load as a picture; needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from serving.load.report import LoadReport
from serving.quantile import quantile

_COLOURS = {"typing": "#2b6cb0", "chat": "#dd6b20"}
_INTERVALS = 12


def plot_load(report: LoadReport, path: Path) -> None:
    """Draws how long the first text took: how many requests within how long, and over the time of the load.

    Raises:
      ValueError: matplotlib knows no format of the name's ending.
      OSError: the file cannot be written.
    """
    with matplotlib.rc_context({"svg.hashsalt": "load", "svg.fonttype": "none", "font.size": 9.0}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        figure.suptitle(report.title, fontsize=9.5)
        shares, times = figure.subplots(2, 1)
        _plot_shares(shares, report)
        _plot_times(times, report)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _plot_shares(axes: Axes, report: LoadReport) -> None:
    for each in report.figures:
        parts = [(index + 1) / len(each.first_ms) * 100 for index in range(len(each.first_ms))]
        axes.step(each.first_ms, parts, where="post", color=_COLOURS[each.kind], label=each.kind)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set_xlabel("first text within, ms")
    axes.set_ylabel("% of those that got text")
    axes.set_ylim(0, 100)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower right")


def _plot_times(axes: Axes, report: LoadReport) -> None:
    width = report.seconds / _INTERVALS
    for each in report.figures:
        answered = [(outcome.started_s, outcome.first_s * 1000) for outcome in report.outcomes
                    if outcome.kind == each.kind and outcome.first_s is not None]  # fmt: skip
        axes.plot(*_columns(answered), ".", color=_COLOURS[each.kind], alpha=0.35, markersize=4)
        intervals: list[list[float]] = [[] for _ in range(_INTERVALS)]
        for started_s, first_ms in answered:
            intervals[min(int(started_s / width), _INTERVALS - 1)].append(first_ms)
        for percent, style in ((50, "-"), (95, ":")):
            values = [quantile(sorted(interval), percent / 100) for interval in intervals]
            line = [((index + 0.5) * width, value) for index, value in enumerate(values) if value is not None]
            axes.plot(*_columns(line), style, color=_COLOURS[each.kind], label=f"{each.kind} p{percent}")
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("seconds of the load")
    axes.set_ylabel("first text, ms")
    axes.grid(True, alpha=0.3)
    axes.legend(loc="upper right", ncols=2)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _plain_numbers(axis: Axis) -> None:
    for set_formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        set_formatter(lambda value, _position: f"{value:g}")
    axis.set_tick_params(which="minor", labelsize=7)
