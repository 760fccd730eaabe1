"""What a step costs the host: processor time of the engine's thread, beside a model whose sizes take none.

    python -m bench.host

The model has CodeGemma 2B's parameters in number, each of them small. Rows decode, one token in each step; the figure
includes planning, packing, launching, landing and sending, by the engine's own code.
"""

import os
import statistics
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from dataclasses import replace

import jax.numpy as jnp

from bench.table import markdown
from serving.engine.engine import Engine
from serving.engine.request import GenerationChunk, GenerationRequest
from sharding.config import CODEGEMMA_2B
from sharding.gemma import random_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits
from sharding.steps import compile_steps

SMALL = replace(
    CODEGEMMA_2B, vocab_size=64, embed_dim=8, mlp_dim=8, num_heads=1, head_dim=8, sliding_window=8, global_every=1000
)
"""With windows, so that long contexts take no time to compute."""
LIMITS = Limits(page_size=32, num_pages=32 * 260, max_rows=32, max_step_tokens=2048, max_context=8192 + 128)
ROWS, CONTEXTS = (1, 8, 32), (1000, 8000)
STEPS = 60


def microseconds(runner: ModelRunner, rows: int, context: int, *, loop_s: float) -> tuple[float, float]:
    """Processor time of the engine's thread for a step and for a token of a row, the medians."""
    engine = Engine(runner, max_queue=0, loop_s=loop_s, lead_s=float("inf"))
    drawn: list[int] = []

    def receive(chunk: GenerationChunk) -> None:
        drawn.append(len(chunk.tokens))

    for index in range(rows):
        prompt = tuple((7 * index + position) % 60 for position in range(context))
        engine.submit(GenerationRequest(request_id=str(index), prompt_ids=prompt, max_tokens=100), receive)
    while engine.stats().queued or len(drawn) < 4 * rows:  # prompts, and a few steps to warm up
        engine.step()
    steps, tokens = [], []
    for _ in range(STEPS if loop_s == 0 else 5):
        drawn.clear()
        began = time.thread_time_ns()
        engine.step()
        steps.append((time.thread_time_ns() - began) / 1e3)
        tokens.append(steps[-1] * rows / max(sum(drawn), 1))
    engine.abort_all()
    while engine.step():
        pass
    return statistics.median(steps), statistics.median(tokens)


def main() -> None:
    """Prints a Markdown table."""
    mesh = make_mesh(1)
    runner = ModelRunner(random_parameters(SMALL, mesh, jnp.float32), compile_steps(SMALL, mesh, jnp.float32, LIMITS))
    table = []
    for rows in ROWS:
        for context in CONTEXTS:
            step, _ = microseconds(runner, rows, context, loop_s=0)
            _, token = microseconds(runner, rows, context, loop_s=60)
            table.append((rows, context, f"{step:.0f}", f"{token:.0f}"))
    print(markdown(["rows", "context", "µs a step", "µs a round of a loop"], table))


if __name__ == "__main__":
    main()
