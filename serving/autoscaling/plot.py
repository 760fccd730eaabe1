"""A simulated day as a picture; the only module that needs matplotlib."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from serving.autoscaling.simulation import INTERVAL_S, Day

_BLUE, _ORANGE, _RED = "#2b6cb0", "#dd6b20", "#c53030"


def plot_day(day: Day, path: Path, *, title: str, goal_s: float) -> None:
    """Draw replicas, queue and p95 time to first token over the day; equal days give equal SVG files.

    Raises:
      ValueError: matplotlib knows no format of the name's ending.
      OSError: the file cannot be written.
    """
    with matplotlib.rc_context({"svg.hashsalt": "day", "svg.fonttype": "none", "font.size": 9.0}):
        figure = Figure(figsize=(8, 5.4), layout="constrained")
        replicas, queued, p95 = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
        edges = [interval.start_s / 3600 for interval in day.intervals] + [24.0]
        middles = [(interval.start_s + INTERVAL_S / 2) / 3600 for interval in day.intervals]
        figure.suptitle(title, fontsize=9.5)
        replicas.stairs([interval.replicas for interval in day.intervals], edges, fill=True, color=_BLUE, alpha=0.85)
        _label(replicas, "replica groups")
        queued.stairs([interval.queued for interval in day.intervals], edges, fill=True, color=_ORANGE)
        _label(queued, "queued requests\n(peak)")
        times = [float("nan") if interval.p95_s is None else interval.p95_s for interval in day.intervals]
        p95.plot(middles, times, color=_RED, linewidth=1.2)
        p95.axhline(goal_s, color="0.4", linewidth=0.9, linestyle="--")
        p95.annotate(
            f"goal {goal_s:g} s", (0.1, goal_s), xytext=(0, 2), textcoords="offset points", color="0.3", fontsize=8
        )
        p95.set_yscale("log")
        p95.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        p95.set_ylabel("p95 first token, s")
        p95.set_xlim(0, 24)
        p95.set_xticks(range(0, 25, 2), [f"{hour:02}:00" for hour in range(0, 25, 2)])
        for axes in (replicas, queued, p95):
            axes.grid(color="0.9", linewidth=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
