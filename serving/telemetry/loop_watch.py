"""LoopWatch: how long this process's own work keeps an event loop from everything else.

On a busy machine an event loop is also late because its thread waits for a processor. That is no fault of the code
here and does not count: `work_between` takes it out.
"""

import asyncio
import logging
import os
import time
import weakref
from dataclasses import dataclass

from serving.telemetry.metrics import LOOP_STALL_SECONDS
from serving.telemetry.recorder import Recorder

STALL_S = 0.05
"""A loop held for longer makes other requests wait noticeably."""
_TICK_S = 0.01
"""What work does to a tick falls short of its time by this at most."""
_REPORT_S = 1.0

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


@dataclass(frozen=True, slots=True)
class Clocks:
    """What has passed, in seconds since some fixed moment.

    Attributes:
      wall: of real time.
      process: of processor time, of all threads of this process.
      queued: of real time in which the loop's thread could have run and had no processor.
    """

    wall: float
    process: float
    queued: float


def work_between(before: Clocks, after: Clocks, due_s: float) -> float:
    """Seconds for which the process's own work made something late.

    It is at most the time by which it is late, less what the thread waited for a processor; and at most the time that
    the process had a processor, in any thread: another one that holds the interpreter's lock delays the loop as well,
    and may itself wait for a processor meanwhile.

    Args:
      before: when it was scheduled.
      after: when it ran.
      due_s: for how much later it was scheduled.
    """
    late = after.wall - before.wall - due_s - (after.queued - before.queued)
    return max(0.0, min(late, after.process - before.process))


class LoopWatch:
    """Ticks on an event loop and records, once a second, the longest that work kept a tick waiting."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._longest = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the loop that runs in this thread, until `stop` or for as long as it runs."""
        loop = asyncio.get_running_loop()
        clocks = ThreadClocks()
        before = clocks.read()
        report_at = before.wall + _REPORT_S

        def tick() -> None:
            nonlocal before, report_at
            now = clocks.read()
            self._longest = max(self._longest, work_between(before, now, _TICK_S))
            if now.wall >= report_at:
                self._report()
                report_at = now.wall + _REPORT_S
            before = now
            self._timer = loop.call_later(_TICK_S, tick)

        self._timer = loop.call_later(_TICK_S, tick)

    def stop(self) -> None:
        """Record what came since the last second, and watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._report()

    def _report(self) -> None:
        self._recorder.record(LOOP_STALL_SECONDS, self._longest)
        if self._longest > STALL_S:
            _log.warning("Work held the event loop for %.3f s.", self._longest)
        self._longest = 0.0


class ThreadClocks:
    """The clocks as they concern the thread that made this."""

    def __init__(self) -> None:
        try:
            # Time run, time queued (ns) and slices: https://docs.kernel.org/scheduler/sched-stats.html
            self._statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:  # a kernel that keeps none: a thread without a processor cannot be told from a busy one
            self._statistics = -1
        else:
            weakref.finalize(self, os.close, self._statistics)

    def read(self) -> Clocks:
        """The clocks now; from any thread."""
        queued = int(os.pread(self._statistics, 64, 0).split()[1]) if self._statistics >= 0 else 0
        return Clocks(time.monotonic(), time.process_time(), queued / 1e9)
