"""The suite: cases of every HTTP operation and gRPC method, and what is left in the service afterwards."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context

from tests.fuzz import grpc_cases, http_cases
from tests.fuzz.report import Report
from tests.fuzz.served import Held, Served

_AT_ONCE = 3
_HTTP_SHARE = 0.25
"""Of all cases: a request that schemathesis makes takes as long as twenty messages."""
_FEW = 4
"""Cases of what has nothing to vary."""
_SETTLED_S = 30.0
_MORE_FILES = 8
_MORE_TASKS = 8
"""For connections that are kept open."""
_MORE_BYTES = 128 * 2**20
"""Arenas and caches of a process, whatever the number of cases."""


@dataclass(frozen=True)
class Part:
    """The cases of one operation or method."""

    run: Callable[[str, str, int, int], Report]
    label: str
    target: str
    cases: int


def parts(service: Served, cases: int, only: str = "") -> list[Part]:
    """What to run for so many cases in all; with `only`, all for one operation or method."""
    http = {label: bool(http_cases.fields(label)) for label in http_cases.OPERATIONS}
    grpc = {path: bool(method.input_type.fields) for path, method in grpc_cases.METHODS.items()}
    if only:
        http = {label: True for label in http if label == only}
        grpc = {path: True for path in grpc if path == only}
    share = _HTTP_SHARE if http and grpc else 1.0
    return [
        *_shared(http_cases.run_operation, service.url, http, cases * share),
        *_shared(grpc_cases.run_method, service.grpc_target, grpc, cases * (1 - share if http else 1.0)),
    ]


def _shared(
    run: Callable[[str, str, int, int], Report], target: str, varied: dict[str, bool], cases: float
) -> Iterator[Part]:
    each = ceil(cases / max(sum(varied.values()), 1))
    for label, varies in varied.items():
        yield Part(run, label, target, each if varies else _FEW)


def run_parts(todo: list[Part], seed: int) -> Iterator[Report]:
    """Runs the parts, some at once, and reports on each as it ends."""
    with ProcessPoolExecutor(_AT_ONCE, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(part.run, part.label, part.target, part.cases, seed) for part in todo]
        for future in as_completed(running):
            yield future.result()


def leftovers(service: Served, before: Held, within_s: float = _SETTLED_S) -> list[str]:
    """What is left of requests once the service has had time to end them, and what it has taken too much of."""
    deadline = time.monotonic() + within_s
    while left := list(_left(service.held(), before)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return left


def _left(now: Held, before: Held) -> Iterator[str]:
    if now.requests or now.pages:
        yield f"{now.requests} requests and {now.pages} pages are held"
    if now.recompilations:
        yield f"{now.recompilations} steps were compiled again"
    if now.tasks > before.tasks + _MORE_TASKS:
        yield f"{now.tasks} tasks, {before.tasks} before"
    if now.files > before.files + _MORE_FILES:
        yield f"{now.files} open files, {before.files} before"
    if now.memory > before.memory + _MORE_BYTES:
        yield f"memory grew by {(now.memory - before.memory) >> 20} MiB"
