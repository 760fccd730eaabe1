"""The processes of a running service, by what they are."""

import ctypes
import os
import re
from contextlib import suppress

import psutil

_COMMANDS = {
    "Gateway": re.compile(r"ray::ServeReplica:[^:]+:Gateway"),
    "leader": re.compile(r"ray::ServeReplica:[^:]+:(?!Gateway)"),
    "host": re.compile(r"ray::Host\b"),
    "HAProxy": re.compile(r".*/bin/haproxy$"),
    "proxy manager": re.compile(r"ray::\w*(HAProxy|ProxyActor)"),
    "controller": re.compile(r"ray::ServeController"),
    "raylet": re.compile(r".*/raylet/raylet$"),
    "GCS": re.compile(r".*/gcs_server$"),
}
"""What their command lines begin with, up to the arguments: the title that Ray gives a process, or a path."""
FOUNDATION = frozenset({"raylet", "GCS"})
"""What nothing starts again. The rest is started again through these."""
_PR_SET_CHILD_SUBREAPER = 36
_END_S = 10.0
"""For processes to be gone after SIGKILL; more only if the machine is out of memory or of disk."""


def service_processes(pid: int | None = None) -> dict[str, list[psutil.Process]]:
    """All that a process started, this one by default, directly or not, and that is part of the service."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in _COMMANDS}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = next(iter(process.cmdline()), "")
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        for kind, pattern in _COMMANDS.items():
            if alive and pattern.match(command):
                found[kind].append(process)
    return found


def lost_foundation() -> list[str]:
    """What is not there of all that Ray cannot go on without."""
    found = service_processes()
    return [kind for kind in sorted(FOUNDATION) if not found[kind]]


def adopt_orphans() -> None:
    """Make processes whose parent is lost children of this one, so that none is left behind. On Linux; see prctl(2)."""
    with suppress(AttributeError):  # another system's C library; Ray's processes end there by themselves, most of them
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> None:
    """Let go of the children that have ended. Nothing else waits for those that were adopted."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_processes() -> None:
    """End everything that this process started, directly or not, at once."""
    processes = psutil.Process().children(recursive=True)
    while processes:  # one that starts another meanwhile leaves it to us
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=_END_S)
        reap()
        processes = [each for each in psutil.Process().children(recursive=True) if each not in processes]
