"""How the memory of processes grows over hours: samples, and a slope with the interval that they allow."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psutil

WARM_S = 300.0
"""What comes before is left out: buffers and caches fill."""
FLAT_MIB_PER_HOUR = 10.0
"""A process whose memory grows by less is flat: 240 MiB a day, of some 500 that it has."""
_BLOCK_S = 120.0
"""Memory of one moment says much of the next, and little of that two minutes later."""
_DRAWS = 2000
_SHOWN = 6
_ANONYMOUS = re.compile(r"^RssAnon:\s*(\d+) kB$", re.MULTILINE)
_KIB_PER_MIB = 1024


def allocated_mib(pid: int) -> float | None:
    """RssAnon of proc_pid_status(5); None for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return None
    found = _ANONYMOUS.search(status)  # None of one that has ended and is not waited for yet
    return int(found[1]) / _KIB_PER_MIB if found else None


class Slope(NamedTuple):
    """MiB an hour, and the 95% interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`flat`, `grows`, or `not decided` where the interval reaches to both sides of the limit."""
        if self.high < FLAT_MIB_PER_HOUR:
            return "flat"
        return "grows" if self.low > FLAT_MIB_PER_HOUR else "not decided"


class MemoryGrowth:
    """Samples of the memory of processes by their names.

    It is RssAnon of proc_pid_status(5), the memory that a process has allocated: RSS counts libraries as well, and PSS
    their share, which changes as other processes that have them mapped come and go.
    """

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def sample(self, at: float, processes: Iterable[tuple[str, psutil.Process]]) -> None:
        """Takes the memory of each process that lives; `at` is in seconds since the start."""
        for name, process in processes:
            if (mib := allocated_mib(process.pid)) is not None:
                self._samples[name].append((at, mib))

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A row for each process: name, MiB at some times after the warm-up, slope, its interval, verdict."""
        rows = []
        for name, samples in self._samples.items():
            seconds, mib = np.array([sample for sample in samples if sample[0] >= WARM_S]).reshape(-1, 2).T
            if len(seconds) < _SHOWN or seconds[-1] - seconds[0] < 2 * _BLOCK_S:
                continue
            shown = " ".join(f"{mib[index]:.0f}" for index in np.linspace(0, len(mib) - 1, _SHOWN).astype(int))
            slope = slope_of(seconds, mib)
            rows.append((name, shown, f"{slope.value:+.1f}", f"{slope.low:+.1f} to {slope.high:+.1f}", slope.verdict))
        return rows


HEADER = ["process", "MiB from the fifth minute to the end", "MiB/hour", "95% interval", "so it is"]


def slope_of(seconds: npt.NDArray[np.float64], mib: npt.NDArray[np.float64]) -> Slope:
    """Fits a line, and draws what is left of the samples anew in blocks of two minutes (moving block bootstrap).

    Memory that goes up and down more slowly than the samples last looks like growth: hours of them say more.

    Args:
      seconds: [N], ascending and evenly spaced.
      mib: [N], at these times.
    """
    hours = seconds / 3600
    fitted, start = np.polyfit(hours, mib, 1)
    residuals = mib - (start + fitted * hours)
    block = max(1, round(_BLOCK_S / float(np.median(np.diff(seconds)))))
    draw = np.random.default_rng(0)
    starts = draw.integers(0, max(1, len(mib) - block + 1), (_DRAWS, -(-len(mib) // block)))
    drawn = residuals[(starts[..., None] + np.arange(block)).reshape(_DRAWS, -1)[:, : len(mib)] % len(mib)]
    centred = hours - hours.mean()
    slopes = fitted + drawn @ centred / (centred @ centred)
    low, high = np.quantile(slopes, (0.025, 0.975))
    return Slope(float(fitted), float(low), float(high))
