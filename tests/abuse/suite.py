"""The suite: inputs of each kind, all of them made from a seed, and what was wrong with how the service took them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from time import monotonic

import psutil

from tests.abuse.attack import Attack
from tests.abuse.grpc_messages import message
from tests.abuse.http1 import raw_http1
from tests.abuse.http2 import raw_http2
from tests.abuse.json_bodies import json_body
from tests.abuse.large import large
from tests.abuse.slow import SLOW
from tests.abuse.state import Held, leftovers, peak_memory, silent_doors, stalls
from tests.abuse.target import Target

_TIMES_ITS_SIZE = 10
_SLACK_BYTES = 96 * 2**20
"""What a process may grow by however small the inputs are: arenas, caches, compiled patterns."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
      make: makes one; gets the service's limit for bodies.
      share: of all inputs.
      together: how many are sent at once.
      most_bytes: how large an input may be that the service accepts; 0 for its own limit.
    """

    make: Callable[[Random, int], Attack]
    share: float
    together: int
    most_bytes: int = 64 * 1024


KINDS = {
    "json": Kind(lambda draw, _: json_body(draw), 0.32, 8),
    "http1": Kind(lambda draw, _: raw_http1(draw), 0.22, 16),
    "http2": Kind(lambda draw, _: raw_http2(draw), 0.22, 16),
    "grpc": Kind(lambda draw, _: message(draw), 0.225, 8),
    "large": Kind(large, 0.015, 1, 0),
}


@dataclass(frozen=True)
class Fault:
    """What was wrong with the answer to one input, or with the service after all of a kind (`index` -1)."""

    kind: str
    index: int
    about: str
    what: str


@dataclass
class Report:
    """What came of the inputs of one kind.

    Attributes:
      stalls: seconds in which the Gateway's loop stood still for too long.
      grown: bytes by which the Gateway's memory grew at most.
      slowest: seconds and index of the input that took longest: a first suspect for a stall.
    """

    kind: str
    inputs: int = 0
    seconds: float = 0.0
    stalls: int = 0
    grown: int = 0
    slowest: tuple[float, int] = (0.0, -1)
    faults: list[Fault] = field(default_factory=list)


def attack_of(kind: str, seed: int, index: int, max_body_bytes: int) -> Attack:
    """The same input for the same arguments."""
    return KINDS[kind].make(Random(f"{seed} {kind} {index}"), max_body_bytes)


async def run(
    target: Target, seed: int, counts: dict[str, int], on_input: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Report]:
    """Sends the inputs kind by kind, slow connections beside them, and reports on each kind.

    Args:
      target: the service.
      seed: of all inputs.
      counts: inputs of each kind.
      on_input: called with its kind after each.
    """
    before = Held.by(target.gateway)
    slowly = asyncio.create_task(_slow(target))
    for kind, count in counts.items():
        yield await run_kind(target, seed, kind, range(count), on_input)
        if not target.gateway.is_running():
            return  # nothing else can be said of it
    yield await slowly
    end = Report("afterwards")
    end.faults = [Fault(end.kind, -1, "", fault) for fault in await leftovers(target, before)]
    yield end


async def run_kind(
    target: Target, seed: int, kind: str, indices: range, on_input: Callable[[str], None] = lambda _: None
) -> Report:
    """Sends inputs of one kind; as for `run`."""
    report = Report(kind)
    before, stalls_before, started = Held.by(target.gateway), await stalls(target), monotonic()
    waiting = iter(indices)

    async def worker() -> None:
        for index in waiting:
            attack = attack_of(kind, seed, index, target.max_body_bytes)
            began = monotonic()
            report.faults += [Fault(kind, index, attack.about, fault) for fault in await attack.faults(target)]
            report.slowest = max(report.slowest, (monotonic() - began, index))
            report.inputs += 1
            on_input(kind)

    await asyncio.gather(*(worker() for _ in range(KINDS[kind].together)))
    report.seconds = monotonic() - started
    try:
        report.grown = peak_memory(target.gateway) - before.memory
        report.stalls = await stalls(target) - stalls_before
    except (psutil.NoSuchProcess, FileNotFoundError):
        report.faults.append(Fault(kind, -1, "", "the Gateway is gone"))
        return report
    report.faults += [Fault(kind, -1, "", fault) for fault in [*await silent_doors(target), *_overdone(target, report)]]
    return report


def _overdone(target: Target, report: Report) -> Iterator[str]:
    """What a kind took too much of."""
    kind = KINDS[report.kind]
    allowed = _TIMES_ITS_SIZE * kind.together * (kind.most_bytes or target.max_body_bytes) + _SLACK_BYTES
    if report.grown > allowed:
        yield f"the Gateway grew by {report.grown / 2**20:.0f} MiB; {allowed / 2**20:.0f} are allowed"
    if report.stalls:
        seconds, index = report.slowest
        yield f"the loop stood still in {report.stalls} different seconds; input {index} took longest, {seconds:.1f} s"


async def _slow(target: Target) -> Report:
    report = Report("slow", len(SLOW))
    started = monotonic()
    for attack, faults in zip(SLOW, await asyncio.gather(*(each.faults(target) for each in SLOW)), strict=True):
        report.faults += [Fault(report.kind, SLOW.index(attack), attack.about, fault) for fault in faults]
    report.seconds = monotonic() - started
    return report


def counted(inputs: int) -> dict[str, int]:
    """How many of so many inputs are of each kind."""
    return {name: max(1, round(inputs * kind.share)) for name, kind in KINDS.items()}


def told(faults: list[Fault], seed: int, each: int = 8) -> Iterator[str]:
    """The faults for people: those that say the same are counted, and one can be tried again."""
    alike = Counter((fault.kind, _shape(fault.what)) for fault in faults)
    first = {(fault.kind, _shape(fault.what)): fault for fault in reversed(faults)}
    of_kind: Counter[str] = Counter()
    for key, count in alike.most_common():
        fault = first[key]
        of_kind[fault.kind] += 1
        if of_kind[fault.kind] <= each:
            again = f"  (--only {fault.kind} --seed {seed} --index {fault.index})" if fault.index >= 0 else ""
            yield f"{count:5} x {fault.kind}: {fault.about}: {fault.what}{again}"
    for kind, shapes in of_kind.items():
        if shapes > each:
            yield f"        {kind}: {shapes - each} other sorts"


def _shape(what: str) -> str:
    return what[:40]
