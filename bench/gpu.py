"""Checks and measures the model on the first accelerator that JAX sees: `python -m bench.gpu`.

First the logits, against the same model on the CPU; then decode steps of CodeGemma's shapes with random weights, as a
share of the memory bandwidth. `--tiny` runs the same code with small shapes, on any machine.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from bench.measure import Limits, Row, decode_seconds
from bench.table import markdown
from sharding.bandwidth import memory_bandwidth
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.gemma import random_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.steps import compile_steps

PAGE_SIZE = 64
CONTEXT = 1000
BATCHES = (1, 8, 32)
SHAPES = {"CodeGemma 2B": CODEGEMMA_2B, "CodeGemma 7B": CODEGEMMA_7B}


def small(config: GemmaConfig) -> GemmaConfig:
    """The same heads in a small model."""
    return replace(config, vocab_size=1024, embed_dim=256, mlp_dim=512, num_layers=2)


def make_runner(
    parameters: Mapping[str, jax.Array], config: GemmaConfig, device: jax.Device, max_rows: int
) -> ModelRunner[Limits]:
    """A runner on one device that holds `max_rows` sequences of `CONTEXT` tokens."""
    mesh = make_mesh(1, [device])
    pages = -(-(CONTEXT + 1) // PAGE_SIZE)
    limits = Limits(
        page_size=PAGE_SIZE,
        num_pages=pages * max_rows,
        max_rows=max_rows,
        max_step_tokens=64,
        max_context=pages * PAGE_SIZE,
    )
    steps = compile_steps(config, mesh, parameters["embedder.weight"].dtype, limits)
    on_device = {path: jax.device_put(value, steps.parameters[path].sharding) for path, value in parameters.items()}
    return ModelRunner(on_device, steps)


def logits(runner: ModelRunner[Limits]) -> np.ndarray:
    """Logits after a prompt in two chunks and after each of some decode steps: [steps, V]."""
    tokens = np.random.default_rng(0).integers(0, 1024, 100).tolist()
    chunks = [(0, 60), (60, 92), *((position, position + 1) for position in range(92, 100))]
    return np.concatenate([runner.logits([Row(tokens[start:end], start, [3, 1])]) for start, end in chunks])


def compare_with_cpu(config: GemmaConfig, device: jax.Device) -> dict[str, float]:
    """The largest deviation of the logits, relative to the largest logit, by dtype; the CPU computes in float32."""
    cpu = jax.devices("cpu")[0]
    errors = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        parameters = random_parameters(config, make_mesh(1, [cpu]), dtype)
        exact = {path: value.astype(jnp.float32) for path, value in parameters.items()}
        expected = logits(make_runner(exact, config, cpu, max_rows=1))
        actual = logits(make_runner(parameters, config, device, max_rows=1))
        errors[jnp.dtype(dtype).name] = float(np.abs(actual - expected).max() / np.abs(expected).max())
    return errors


def main() -> None:
    """Prints two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try this on any machine")
    options = parser.parse_args()
    device = jax.devices()[0]
    print(f"Device: {device.device_kind} ({device.platform}), jax {jax.__version__}\n")

    errors = [
        (name, dtype, f"{error:.1e}")
        for name, config in SHAPES.items()
        for dtype, error in compare_with_cpu(small(config), device).items()
    ]
    print(markdown(["heads of", "dtype", "largest error of logits"], errors), "\n")

    limit = memory_bandwidth([device], size=(1 << 26) if options.tiny else (1 << 30))
    print(f"Memory: {limit / 1e9:.0f} GB/s\n")
    rows: list[tuple[object, ...]] = []
    for name, config in SHAPES.items():
        shape = small(config) if options.tiny else config
        parameters = random_parameters(shape, make_mesh(1, [device]), jnp.bfloat16)
        runner = make_runner(parameters, shape, device, max(BATCHES))
        weights = sum(value.nbytes for value in parameters.values())
        kv = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * CONTEXT * 2
        for batch in BATCHES:
            seconds = decode_seconds(runner, batch, CONTEXT, repeats=20)
            share = (weights + batch * kv) / seconds / limit
            rows.append((name, batch, f"{batch / seconds:.0f}", f"{seconds * 1e3:.2f}", f"{share:.0%}"))
        del parameters, runner
    print(markdown(["bfloat16 weights of", "batch", "tokens/s", "ms per step", "of memory bandwidth"], rows))


if __name__ == "__main__":
    main()
