"""A group of one host under requests at random: whether the memory that it uses grows.

    python -m bench.live_memory --requests 3000

The C library keeps what steps free for the next ones (`sharding/freed_memory.py`), so the resident memory of a process
goes up and down by tens of MiB and does not show a slow leak. This asks the C library, mallinfo2(3), how much is in use
while nothing runs. Tiny model with random weights; real engine and JAX, in this process.
"""

import ctypes
import gc
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.memory_growth import allocated_mib
from bench.soak_group import random_request, soaked_model
from bench.table import markdown
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.group.loading import load_local_runner
from sharding.mesh import use_devices
from tests.service.tiny_codegemma import write_tiny_codegemma

_AT_ONCE, _CANCELLED, _ABORTED_WITHIN_S, _TIMEOUT_S = 4, 0.3, 0.2, 300.0
_SAMPLES, _WARM = 10, 4
_GROWTH_MIB = 0.5
"""Of the samples after the first ones, from the first to the last; arrays of one step take more."""
_MALLINFO2 = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2(3) answers."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2]


def main(requests: Annotated[int, typer.Option(min=100, help="How many.")] = 3000) -> None:
    """Prints a table; the exit status is 1 if the memory in use grows."""
    with tempfile.TemporaryDirectory() as directory:
        model = soaked_model(str(write_tiny_codegemma(Path(directory))), hosts=1)
        use_devices(model.topology.platform, cpu_devices=1)
        runner = load_local_runner(model, lambda phase, done, total: None)
    engine = Engine(runner, max_queue=_AT_ONCE)
    thread = EngineThread(engine, after_step=lambda: None)
    thread.start()
    choose, done, rows, used = random.Random(0), 0, [], []
    for sample in range(_SAMPLES):
        while done < (sample + 1) * requests // _SAMPLES:
            ends = [_begin(engine, choose, f"{done + number}") for number in range(_AT_ONCE)]
            for end in ends:
                if not end.wait(_TIMEOUT_S):
                    sys.exit(f"a request has not ended after {_TIMEOUT_S:g} s")
            done += _AT_ONCE
        gc.collect()
        info = _mallinfo2()
        used.append((info.uordblks + info.hblkhd) / 2**20)
        resident = allocated_mib(os.getpid())
        rows.append([str(done), f"{used[-1]:.2f}", f"{info.fordblks / 2**20:.0f}", f"{resident:.0f}"])
        print(f"{done} requests", file=sys.stderr, flush=True)
    thread.stop(drain=True, timeout_s=_TIMEOUT_S)
    print(markdown(["requests", "MiB in use", "MiB free", "MiB resident"], rows))
    growth = used[-1] - used[_WARM]
    print(f"From sample {_WARM + 1} on: {growth:+.2f} MiB.")
    sys.exit(growth > _GROWTH_MIB)


def _begin(engine: Engine, choose: random.Random, name: str) -> threading.Event:
    """Submits a request, and aborts some; the event is set when it has ended."""
    ended = threading.Event()
    request = random_request(choose, name, _TIMEOUT_S)
    engine.submit(request, lambda chunk: ended.set() if chunk.finish_reason is not None else None)
    if choose.random() < _CANCELLED:
        time.sleep(choose.uniform(0, _ABORTED_WITHIN_S))
        engine.abort(name)
    return ended


def _mallinfo2() -> _Mallinfo2:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    info: _Mallinfo2 = mallinfo2()
    return info


if __name__ == "__main__":
    typer.run(main)
