"""A load as a picture; needs matplotlib."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serving.load.report import LoadReport, percentile

_COLOURS = {"typing": "#2b6cb0", "chat": "#dd6b20"}
_INTERVALS = 30


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
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.set_xlabel("first text within, ms")
    axes.set_ylabel("% of requests")
    axes.set_ylim(0, 100)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower right")


def _plot_times(axes: Axes, report: LoadReport) -> None:
    width = report.seconds / _INTERVALS
    for each in report.figures:
        intervals: list[list[float]] = [[] for _ in range(_INTERVALS)]
        for outcome in report.outcomes:
            if outcome.kind == each.kind and outcome.first_s is not None:
                index = min(int(outcome.started_s / width), _INTERVALS - 1)
                intervals[index].append(outcome.first_s * 1000)
        middles = [(index + 0.5) * width for index in range(_INTERVALS)]
        for q, style in ((50, "-"), (95, ":")):
            values = [percentile(sorted(interval), q) for interval in intervals]
            known = [float("nan") if value is None else value for value in values]
            axes.plot(middles, known, style, color=_COLOURS[each.kind], label=f"{each.kind} p{q}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.set_xlabel("seconds of the load")
    axes.set_ylabel("first text, ms")
    axes.grid(True, alpha=0.3)
    axes.legend(loc="upper right", ncols=2)
