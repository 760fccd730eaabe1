"""Runs workers, and goes on behind a case that ended or held one up."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.damage import worker

_MOST_SECONDS = 200
"""Of the clock, for one case: far more than it may take of a processor."""

type Part = tuple[str, int, int, int | None]
"""Form, seed, first case, and where to stop; None: when there was one of each kind of damage."""


@dataclass(frozen=True)
class Outcome:
    """How a damaged checkpoint was taken.

    Attributes:
      said: the error, or `read` and how many numbers are others.
      faults: what was not as it should be.
    """

    form: str
    case: int
    kind: str
    damage: str
    said: str
    faults: tuple[str, ...]


def run(parts: list[Part]) -> Iterator[Outcome]:
    """Runs the cases of each part in turn, in one process unless it ends."""
    while parts:
        begun: dict[str, Any] | None = None
        errors: list[str] = []
        for line in _lines(parts, errors):
            if "faults" in line:
                yield Outcome(**line | {"faults": tuple(line["faults"])})
                begun = None
            else:
                begun = line
        if begun is None:
            if errors:
                raise RuntimeError(errors[0])
            return
        form, case = begun["form"], begun["case"]
        yield Outcome(form, case, "", "", "", (f"ends the process, or takes more than {_MOST_SECONDS} s: {errors}",))
        at = next(number for number, part in enumerate(parts) if part[0] == form)
        parts = [(form, parts[at][1], case + 1, parts[at][3]), *parts[at + 1 :]]


def _lines(parts: list[Part], errors: list[str]) -> Iterator[dict[str, Any]]:
    """What a worker prints; one that prints nothing for too long is killed."""
    command = [sys.executable, "-m", worker.__name__, json.dumps(parts)]
    # Or each thread would take 64 MiB of address space to allocate from.
    environment = os.environ | {"MALLOC_ARENA_MAX": "2"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        stderr = process.stderr
        reading = threading.Thread(target=lambda: errors.append(stderr.read()[-2000:]))
        reading.start()
        watchdog = threading.Timer(_MOST_SECONDS, process.kill)
        watchdog.start()
        for line in process.stdout:
            watchdog.cancel()
            yield json.loads(line)
            watchdog = threading.Timer(_MOST_SECONDS, process.kill)
            watchdog.start()
        watchdog.cancel()
        reading.join()
    if process.returncode == 0:
        errors.clear()
