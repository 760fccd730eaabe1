"""A program that damages checkpoints in many ways, opens and reads each, and prints what was not as it should be.

    python -m tests.sharding.checkpoint.damage FORM SEED CASES

A damaged checkpoint is either refused in one line that names it, or what was damaged was no more than a number. It runs
in a process of its own, whose memory is bounded.
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
from typing import Literal

import numpy as np

from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.quantised import QuantisedSource
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.google_files import (
    gemma_pytorch_tensors,
    keras_datasets,
    orbax_arrays,
    quantised_gemma_pytorch,
    write_gemma_pytorch,
    write_keras,
    write_orbax,
)
from tests.sharding.checkpoint.nemo_files import NEMO_LAYOUTS, archived

MEMORY_BYTES = 4 * 2**30
MOST_SECONDS = 5
"""Of a processor, for one checkpoint."""
_EDGE = 4096
"""Bytes at the beginning and the end of a file, where most formats describe themselves."""
_SIZES = (0, 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)

GEMMA = CONFIGS["gemma-mqa"] | {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "head_dim": 8,
    "num_hidden_layers": 2,
    "max_position_embeddings": 32,
}
TENSORS = random_tensors(GEMMA, 1)


def _archive(write: Callable[..., object], mode: Literal["w:", "w:gz"], path: Path) -> None:
    folder = path.with_name(path.name + ".d")
    write(folder, config=GEMMA, tensors=TENSORS)
    archived(folder, path, mode)


_ARCHIVES: tuple[tuple[str, str, Literal["w:", "w:gz"]], ...] = (
    ("torch_dist", "tar", "w:"),
    ("zarr", "tar.gz", "w:gz"),
)
_NEMO_FORMS: dict[str, Callable[[Path], object]] = {
    **{
        f"nemo {name}": partial(NEMO_LAYOUTS[name], config=GEMMA, tensors=TENSORS)
        for name in ("flat", "ranks", "zarr", "zarr in blosc", "NeMo 2")
    },
    **{f"nemo {name} in a {kind}": partial(_archive, NEMO_LAYOUTS[name], mode) for name, kind, mode in _ARCHIVES},
}
FORMS: dict[str, Callable[[Path], object]] = {
    "orbax-zarr": lambda path: write_orbax(path, orbax_arrays(GEMMA, TENSORS), is_database=False),
    "orbax-ocdbt": lambda path: write_orbax(path, orbax_arrays(GEMMA, TENSORS), is_database=True),
    "keras": lambda path: write_keras(path, GEMMA, keras_datasets(GEMMA, TENSORS)),
    "gemma_pytorch": lambda path: write_gemma_pytorch(path, gemma_pytorch_tensors(GEMMA, TENSORS), shards=2),
    "gemma_pytorch-quant": lambda path: write_gemma_pytorch(
        path, quantised_gemma_pytorch(gemma_pytorch_tensors(GEMMA, TENSORS))
    ),
    **_NEMO_FORMS,
}


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """The content of a file, damaged in one way."""
    edges = [(0, min(_EDGE, len(data))), (max(len(data) - _EDGE, 0), len(data)), (0, len(data))]
    at = int(rng.integers(*edges[rng.integers(3)], endpoint=True))
    match rng.integers(8):
        case 0:
            return data[:at]
        case 1:
            changed = bytearray(data)
            for place in rng.integers(max(at - 32, 0), at + 32, rng.integers(1, 9)):
                if place < len(changed):
                    changed[place] ^= 1 << int(rng.integers(8))
            return bytes(changed)
        case 2:
            width = int(rng.choice([4, 8]))
            size = _SIZES[int(rng.integers(len(_SIZES)))] % int(2 ** (8 * width))
            return data[:at] + size.to_bytes(width, "little") + data[at + width :]
        case 3:
            return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]
        case 4:
            other = int(rng.integers(0, len(data), endpoint=True))
            return data[:at] + data[other : other + 64] + data[at + 64 :]
        case 5:
            return data[:at] + data[at + int(rng.integers(1, 64)) :]
        case 6:
            digits = [place for place in range(len(data)) if data[place : place + 1].isdigit()] or [0]
            place = digits[rng.integers(len(digits))]
            return data[:place] + b"9" * int(rng.integers(1, 30)) + data[place + 1 :]
        case _:
            return b"[" * 100_000 if rng.integers(2) else b'{"a":' * 50_000


def outcome(path: Path) -> str | None:
    """What is wrong with how a damaged checkpoint was taken."""
    started = _processor_seconds()
    try:
        _read_all(path)
    except CheckpointError as error:
        text = str(error)
        if "\n" in text or str(path) not in text or len(text) > 1000:
            return f"is refused with {text!r}"
    except Exception as error:
        return f"raises {error!r}"[:500]
    seconds = _processor_seconds() - started
    return f"takes {seconds:.1f} s" if seconds > MOST_SECONDS else None


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _read_all(path: Path) -> None:
    for source in open_checkpoint(path).tensors.values():
        if isinstance(source, QuantisedSource):
            source.values(())
            source.scales(())
        else:
            source.read(())


def main(form: str, seed: int, cases: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        whole = Path(folder) / "whole"
        FORMS[form](whole)
        _read_all(whole)
        for number in range(seed, seed + cases):
            rng = np.random.default_rng(number)
            path = Path(folder) / f"{number}"
            shutil.copytree(whole, path) if whole.is_dir() else shutil.copy(whole, path)
            files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
            file = files[rng.integers(len(files))]
            file.write_bytes(damage(file.read_bytes(), rng))
            print(json.dumps({"case": number, "wrong": outcome(path)}), flush=True)
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
