"""Decode speed of Gemma 3 270M on this machine's CPU, as a share of what its memory allows.

    python -m bench.decode CHECKPOINT [--transformers PYTHON]

A decode step reads every weight once, so its limit is the rate at which a plain matrix-vector product reads memory;
that is measured in between, on the same machine in the same minute.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from bench.measure import best_seconds, decode_seconds
from bench.table import markdown
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh, use_devices
from sharding.quantization import Quantization
from sharding.runner import ModelRunner
from sharding.step import Limits
from sharding.steps import compile_steps

LIMITS = Limits(page_size=32, num_pages=64, max_rows=16, max_step_tokens=32, max_context=256)
CONTEXT, REPEATS, ROUNDS = 64, 8, 3
FORMATS = {
    "float32": (jnp.float32, None),
    "bfloat16": (jnp.bfloat16, None),
    "int8": (jnp.float32, Quantization.INT8),
    "int8-weights": (jnp.float32, Quantization.INT8_WEIGHTS),
}
"""Of weights: the dtype of what is not quantised, and what is."""


def matvec_rates() -> list[Callable[[], float]]:
    """Measurements in bytes per second: products of 5 matrices of 128 MiB, more than any cache holds."""
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal((4096, 8192), dtype=np.float32) for _ in range(5)]
    vector = rng.standard_normal(8192, dtype=np.float32)
    size = sum(matrix.nbytes for matrix in matrices)
    on_device = jax.device_put((matrices, vector))
    product = jax.jit(lambda matrices, vector: [matrix @ vector for matrix in matrices]).lower(*on_device).compile()

    def with_numpy() -> float:
        return size / best_seconds(lambda: [matrix @ vector for matrix in matrices], REPEATS)

    def with_jax() -> float:
        return size / best_seconds(lambda: jax.block_until_ready(product(*on_device)), REPEATS)

    return [with_numpy, with_jax]


def transformers_rate(python: Path, config: GemmaConfig) -> float:
    """Tokens per second of transformers in float32 at batch 1, run by another Python."""
    sizes = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "query_pre_attn_scalar": config.head_dim,
        "sliding_window": config.sliding_window,
    }
    script = Path(__file__).with_name("transformers_decode.py")
    result = subprocess.run([python, script, json.dumps(sizes)], stdout=subprocess.PIPE, check=True, text=True)
    return float(result.stdout)


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--transformers", type=Path, metavar="PYTHON", help="a Python that has torch and transformers")
    options = parser.parse_args()

    use_devices("cpu")
    original = open_checkpoint(options.checkpoint)
    mesh = make_mesh(1)
    weights: dict[str, int] = {}
    measured: dict[tuple[str, int], Callable[[], float]] = {}
    console = Console(stderr=True)
    for name in track(FORMATS, description="loading and compiling", console=console):
        dtype, quantization = FORMATS[name]
        checkpoint = original.quantised(quantization)
        parameters = load(checkpoint, abstract_parameters(checkpoint.config, mesh, dtype))
        weights[name] = sum(array.nbytes for array in jax.tree.leaves(parameters))
        runner = ModelRunner(parameters, compile_steps(checkpoint.config, mesh, dtype, LIMITS))
        for batch in (1, 8, 16):
            measured[name, batch] = partial(decode_seconds, runner, batch, CONTEXT, REPEATS)

    rates = matvec_rates()
    limit = 0.0
    seconds = dict.fromkeys(measured, float("inf"))
    for _ in track(
        range(ROUNDS), description="measuring", console=console
    ):  # in turns, so that a busy moment of the machine does not hit one of them alone
        limit = max(limit, *(rate() for rate in rates))
        seconds = {key: min(seconds[key], measure()) for key, measure in measured.items()}

    print(f"Matrix-vector product: {limit / 1e9:.1f} GB/s, the best of NumPy and JAX, {os.cpu_count()} cores.\n")
    rows = [
        (name, batch, f"{batch / time:.1f}", f"{time * 1e3:.1f}", f"{weights[name] / time / limit:.0%}")
        for (name, batch), time in seconds.items()
    ]
    if options.transformers:
        rate = transformers_rate(options.transformers, original.config)
        share = weights["float32"] * rate / limit
        rows.append(("float32, transformers", 1, f"{rate:.1f}", f"{1e3 / rate:.1f}", f"{share:.0%}"))
    print(markdown(["weights", "batch", "tokens/s", "ms per step", "of matrix-vector bandwidth"], rows))


if __name__ == "__main__":
    main()
