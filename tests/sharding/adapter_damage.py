"""A program that damages adapters in many ways, reads each, and prints what was not as it should be.

    python -m tests.sharding.adapter_damage SEED CASES

A damaged adapter is either refused in one line that names it, or what was damaged was no more than a number. It runs in
a process of its own, whose memory is bounded.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sharding.adapters import AdapterError
from sharding.adapters.forms import open_adapter
from sharding.adapters.reader import read_adapter
from tests.damage.kinds.damage import pick
from tests.damage.kinds.raw import EDITS
from tests.sharding.nemo_adapter_files import NEMO_LAYOUTS, RANK, fused_adapter
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.small_models import MQA

MEMORY_BYTES = 4 * 2**30
MOST_SECONDS = 5
"""Of a processor, for one adapter."""
FORMS: dict[str, Callable[[Path], object]] = {
    "PEFT": lambda path: write_peft(path, peft_tensors(fused_adapter(MQA))),
    **{
        name: partial(NEMO_LAYOUTS[name], adapter=fused_adapter(MQA), config=MQA)
        for name in ("tar", "tar.gz", "2 x 2 ranks", "zarr of 2 ranks", "NeMo 2")
    },
}


def outcome(path: Path) -> str | None:
    """What is wrong with how a damaged adapter was taken."""
    started = time.process_time()
    for read in (partial(read_adapter, config=MQA, max_rank=RANK), lambda path: open_adapter(path).updates(MQA)):
        try:
            read(path)
        except AdapterError as error:
            text = str(error)
            if "\n" in text or str(path) not in text or len(text) > 1000:
                return f"is refused with {text!r}"
        except Exception as error:
            return f"raises {error!r}"[:500]
    seconds = time.process_time() - started
    return f"takes {seconds:.1f} s" if seconds > MOST_SECONDS else None


def main(seed: int, cases: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        for form, write in FORMS.items():
            whole = Path(folder) / form
            write(whole)
            read_adapter(whole, MQA, RANK)
            for number in range(seed, seed + cases):
                rng = np.random.default_rng(number)
                path = Path(folder) / f"{form} {number}"
                shutil.copytree(whole, path) if whole.is_dir() else shutil.copy(whole, path)
                files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
                file = files[rng.integers(len(files))]
                file.write_bytes(pick(rng, EDITS)(file.read_bytes(), rng))
                print(json.dumps({"form": form, "case": number, "wrong": outcome(path)}), flush=True)
                shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
