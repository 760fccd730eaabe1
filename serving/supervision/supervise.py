"""The loop: sees the service every two seconds, until it has to be started anew."""

import time
from collections.abc import Callable

from serving.supervision.memory import memory
from serving.supervision.probe import Probe
from serving.supervision.processes import reap, service_processes
from serving.supervision.watch import Process, Sight, Watch

_PERIOD_S = 2.0


def supervise(probe: Probe, watch: Watch, say: Callable[[str], None]) -> None:
    """Say what happens to the service; returns when everything has to be started anew.

    Nothing in here asks Ray, which may wait for ever for what is lost.
    """
    while True:
        verdict = watch.see(_look(probe), time.monotonic())
        if verdict.line:
            say(verdict.line)
        if verdict.start_anew:
            return
        reap()
        time.sleep(_PERIOD_S)


def _look(probe: Probe) -> Sight:
    health = probe.health()
    processes = frozenset(Process(kind, each.pid) for kind, found in service_processes().items() for each in found)
    return Sight(health, processes, memory())
