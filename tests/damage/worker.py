"""A program that damages checkpoints, opens and reads each, and prints what was not as it should be.

    python -m tests.damage.worker '[["Keras", 1, 0, 20]]'    # form, seed, first case, and where to stop; see `search`

It runs in a process of its own, whose memory is bounded, in a directory in which nothing may appear. A damaged
checkpoint is refused in one line that names it; or what was read is the same as before but for numbers whose own bytes
were changed.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from serving.checkpoints.inspection import inspect_checkpoint
from sharding.adapters import AdapterError
from sharding.checkpoint import CheckpointError
from tests.damage.case import Damager
from tests.damage.forms import FORMS, Form
from tests.damage.kinds.damage import Damage
from tests.damage.reading import Reading, numbers_that_differ, read

_MORE_BYTES = 2**30
"""Of address space than the process has before the first case of a form: libraries keep what they took."""
_MOST_SECONDS = 5
"""Of a processor, for one checkpoint."""
_MOST_CHARACTERS = 1000
_INSPECTED = 8
"""Every so many cases `codegemma inspect` looks at, too."""


def main(parts: list[tuple[str, int, int, int | None]]) -> None:
    """Runs cases of some forms; prints a line of JSON before and after each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "here").mkdir()
        os.chdir(folder / "here")
        for number, (form, seed, first, stop) in enumerate(parts):
            _limit_memory()
            root = folder / str(number)
            root.mkdir()
            _run(form, root, seed, first, stop)
            shutil.rmtree(root)


def _run(name: str, root: Path, seed: int, first: int, stop: int | None) -> None:
    form = FORMS[name]
    whole = root / "whole"
    path = form.write(whole).relative_to(whole)
    before = read(whole / path)
    damager = Damager(name, whole, _as_stored(before))
    for number in range(first, len(damager.kinds) if stop is None else stop):
        _say(form=name, case=number)
        copy = root / f"{number}"
        shutil.copytree(whole, copy)
        kind, damage = damager.damage(copy, seed, number)
        faults: list[str] = []
        said = _outcome(form, copy, copy / path, before, damage, faults)
        if damage.untrusted_tokenizer or number % _INSPECTED == 0:
            _inspect(copy, copy / path, said, damage, faults)
        if appeared := os.listdir("."):
            faults.append(f"something was executed: {appeared}")
            for each in appeared:
                Path(each).unlink()
        _say(form=name, case=number, kind=kind, damage=damage.text, said=said, faults=faults)
        shutil.rmtree(copy)


def _outcome(form: Form, copy: Path, path: Path, before: Reading, damage: Damage, faults: list[str]) -> str:
    """What the reader said: an error, or what it read."""
    started = _processor_seconds()
    try:
        after = read(path, *([damage.afterwards] if damage.afterwards else []))
    except (AdapterError, CheckpointError) as error:
        said = str(error)
        _check_error(copy, said, damage, faults)
    except Exception as error:
        said = repr(error)[:500]
        faults.append(f"raises {said}")
    else:
        said = _check_read(form, path, before, after, damage, faults)
    if (seconds := _processor_seconds() - started) > _MOST_SECONDS:
        faults.append(f"takes {seconds:.1f} s")
    return said


def _check_error(copy: Path, said: str, damage: Damage, faults: list[str]) -> None:
    if not said.isprintable() or len(said) > _MOST_CHARACTERS:
        faults.append("is refused in more than a line")
    if str(copy) not in said:
        faults.append("is refused without a file")
    if damage.names not in said:
        faults.append(f"is refused without {damage.names!r}")


def _check_read(form: Form, path: Path, before: Reading, after: Reading, damage: Damage, faults: list[str]) -> str:
    if damage.refused:
        faults.append("is read")
    if before.config != after.config:
        faults.append(f"is read as another model: {dict(after.config.items() - before.config.items())}")
    differing = numbers_that_differ(before, after)
    if form.numbers_per_byte is not None and differing > damage.changed * form.numbers_per_byte:
        faults.append(f"{differing} numbers are others")
    if differing and form.is_summed and not inspect_checkpoint(path, verify=True).problems:
        faults.append(f"{differing} numbers are others, and no sum says so")
    return f"read, {differing} numbers are others" if differing else "read"


def _inspect(copy: Path, path: Path, said: str, damage: Damage, faults: list[str]) -> None:
    """`codegemma inspect` must say the same of a checkpoint that is refused, and tell of a tokenizer."""
    if damage.afterwards or path.name == "adapter" or (path / "adapter_config.json").exists():
        return
    try:
        problems = inspect_checkpoint(path, verify=True).problems
    except Exception as error:
        faults.append(f"inspect raises {error!r}"[:500])
        return
    if not said.startswith("read") and said not in problems:
        faults.append(f"inspect says {problems}"[:500])
    if damage.untrusted_tokenizer and not problems:
        faults.append("inspect says nothing of the tokenizer")
    if any(not problem.isprintable() or str(copy) not in problem for problem in problems):
        faults.append(f"inspect says {problems}"[:500])


def _as_stored(reading: Reading) -> list[bytes]:
    """The first numbers of the embedding, which every form stores row by row, in the types that files have."""
    numbers = reading.numbers.get("embedder.weight")
    if numbers is None or numbers.dtype != np.float32:
        return []
    return [numbers[:2].astype(dtype).tobytes() for dtype in (np.float32, np.float16, ml_dtypes.bfloat16)]


def _limit_memory() -> None:
    status = Path("/proc/self/status").read_text()
    size = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + _MORE_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
