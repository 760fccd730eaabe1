"""The processes of a running service, by what they are."""

import re
from collections import Counter

import psutil

_TITLES = {
    "Gateway": re.compile(r"ray::ServeReplica:\w+:Gateway"),
    "leader": re.compile(r"ray::ServeReplica:\w+:(?!Gateway)"),
    "host": re.compile(r"ray::Host\b"),
    "proxy": re.compile(r"\S*/bin/haproxy "),
    "proxy manager": re.compile(r"ray::\w*(HAProxy|ProxyActor)"),
    "controller": re.compile(r"ray::ServeController"),
}


def service_processes(pid: int | None = None) -> dict[str, list[psutil.Process]]:
    """All that a process started, this one by default, directly or not, and that is part of the service."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in _TITLES}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        for kind, pattern in _TITLES.items():
            if alive and pattern.match(title):
                found[kind].append(process)
    return found


def counted() -> Counter[str]:
    """How many of each kind there are."""
    return Counter({kind: len(processes) for kind, processes in service_processes().items()})
