"""Runners of models with CodeGemma's shapes and random weights, for the steps that are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax

from sharding.attention import AttentionImplementation
from sharding.batch import Bucket
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.mesh import make_mesh
from sharding.quantization import Quantization
from sharding.runner import ModelRunner
from sharding.step import Limits
from sharding.steps import compile_steps
from sharding.weights import Weight

PAGE_SIZE = 64
MAX_CONTEXT = 8192
SHAPES = {"CodeGemma 2B": CODEGEMMA_2B, "CodeGemma 7B": CODEGEMMA_7B}
FORMATS: dict[str, Quantization | None] = {
    "bfloat16": None,
    "int8": Quantization.INT8,
    "int8-weights": Quantization.INT8_WEIGHTS,
    "int4": Quantization.INT4,
}
"""Of weights; activations and caches are bfloat16."""


def small(config: GemmaConfig) -> GemmaConfig:
    """The same heads in a small model."""
    return replace(config, vocab_size=1024, embed_dim=256, mlp_dim=512, num_layers=2)


def make_runner(
    parameters: Mapping[str, Weight],
    config: GemmaConfig,
    device: jax.Device,
    num_pages: int,
    buckets: Sequence[Bucket],
    attention: AttentionImplementation | None = None,
    *,
    adapter_rank: int = 0,
) -> ModelRunner:
    """A runner on one device for these shapes of steps alone; with room for the adapters of its buckets."""
    mesh = make_mesh(1, [device])
    limits = Limits(
        page_size=PAGE_SIZE,
        num_pages=num_pages,
        max_rows=max(bucket.rows for bucket in buckets),
        max_step_tokens=max(bucket.tokens for bucket in buckets),
        max_context=MAX_CONTEXT,
        adapters=buckets[0].adapters,
        adapter_rank=adapter_rank,
    )
    dtype = parameters["embedder.weight"].dtype
    steps = compile_steps(config, mesh, dtype, limits, attention, buckets)
    on_device = jax.tree.map(
        lambda value, spec: jax.device_put(value, spec.sharding), dict(parameters), steps.parameters
    )
    return ModelRunner(on_device, steps)
