"""What a step costs the host: processor time of the engine's thread, beside a device that has nothing to do.

    python -m bench.host

The runner has CodeGemma 2B's parameters in number, and programs that take and return what a model's do but compute
nothing: on a CPU, JAX would compute in the same thread. Rows decode; the figure includes planning, packing, launching,
landing and sending, by the engine's own code.
"""

import os
import statistics
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from bench.table import markdown
from serving.engine.engine import Engine
from serving.engine.request import GenerationChunk, GenerationRequest
from sharding.batch import Bucket, Layout
from sharding.config import CODEGEMMA_2B
from sharding.drawn_tokens import DrawnTokens
from sharding.gemma import random_parameters
from sharding.kept import Kept
from sharding.mesh import make_mesh
from sharding.programs import Cache
from sharding.runner import ModelRunner
from sharding.step import MAX_DRAWS, MAX_LOGPROBS, Limits
from sharding.steps import CompiledSteps, compile_steps

SMALL = replace(
    CODEGEMMA_2B, vocab_size=64, embed_dim=8, mlp_dim=8, num_heads=1, head_dim=8, sliding_window=8, global_every=1000
)
"""With windows, so that long contexts take no time to compute."""
LIMITS = Limits(page_size=32, num_pages=32 * 270, max_rows=32, max_step_tokens=2048, max_context=8192 + 448)
ROWS, CONTEXTS = (1, 8, 32), (1000, 8000)
STEPS = 60


def idle(steps: CompiledSteps) -> CompiledSteps:
    """The same steps, of which those that decode draw token 0 without a model."""

    def packed(layout: Layout) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((layout.size,), jnp.int32)

    by_bucket = dict(steps.by_bucket)
    for bucket in filter(lambda bucket: bucket.decodes, steps.by_bucket):
        # Else JAX would not even hand over what a program does not use.
        decode = jax.jit(partial(_decode, bucket), donate_argnums=(1, 2), keep_unused=True)
        tokens, draws = packed(bucket.tokens_layout), packed(bucket.draws_layout)
        parameters = list(steps.parameters.values())
        by_bucket[bucket] = decode.lower(parameters, steps.cache, steps.kept, tokens, draws).compile()
    return replace(steps, by_bucket=by_bucket)


def _decode(
    bucket: Bucket, _: object, cache: Cache, kept: Kept[jax.Array], tokens: jax.Array, packed_draws: jax.Array
) -> tuple[DrawnTokens, Kept[jax.Array], Cache]:
    rounds = (MAX_DRAWS, bucket.rows)
    token_ids = jnp.zeros((1 + MAX_DRAWS, bucket.rows), jnp.int32).at[0].set(bucket.unpack_draws(packed_draws).counts)
    top_ids = jnp.zeros((*rounds, MAX_LOGPROBS), jnp.int32)
    return DrawnTokens(token_ids, jnp.zeros(rounds), top_ids, jnp.zeros(top_ids.shape)), kept, cache


def microseconds(runner: ModelRunner, rows: int, context: int, *, loop_s: float) -> float:
    """Processor time of the engine's thread for a token of each row: a step, or a round of a loop; the median."""
    engine = Engine(runner, max_queue=0, loop_s=loop_s, lead_s=float("inf"))
    drawn: list[int] = []

    def receive(chunk: GenerationChunk) -> None:
        drawn.append(len(chunk.tokens))

    for index in range(rows):
        prompt = tuple((7 * index + position) % 60 for position in range(context))
        engine.submit(GenerationRequest(request_id=str(index), prompt_ids=prompt, max_tokens=400), receive)
    times: list[float] = []
    while len(times) < STEPS and engine.in_flight == rows:
        drawn.clear()
        began = time.thread_time_ns()
        engine.step()
        seconds = time.thread_time_ns() - began
        if sum(drawn) == rows * (MAX_DRAWS if loop_s else 1):  # not while prompts are computed
            times.append(seconds / 1e3 * rows / sum(drawn))
    engine.abort_all()
    while engine.step():
        pass
    return statistics.median(times[len(times) // 3 :])


def main() -> None:
    """Prints a Markdown table."""
    mesh = make_mesh(1)
    steps = idle(compile_steps(SMALL, mesh, jnp.float32, LIMITS))
    runner = ModelRunner(random_parameters(SMALL, mesh, jnp.float32), steps)
    table = []
    for rows in ROWS:
        for context in CONTEXTS:
            figures = (microseconds(runner, rows, context, loop_s=loop_s) for loop_s in (0, 60))
            table.append((rows, context, *(f"{figure:.0f}" for figure in figures)))
    print(markdown(["rows", "context", "µs a step", "µs a round of a loop"], table))


if __name__ == "__main__":
    main()
