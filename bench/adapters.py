"""What adapters cost: tokens per second of rows with eight different adapters, as a share of the model's own.

    python -m bench.adapters [CHECKPOINT] [--rank 8]

Without a checkpoint: a random model of Gemma 3 270M's layers with a small vocabulary. Both runners have the same
weights and take turns; rows of the second one have an adapter each, of random numbers, for all projections.
"""

import argparse
from functools import partial
from pathlib import Path

import jax.numpy as jnp
from msgspec.structs import replace
from rich.console import Console
from rich.progress import track

from bench.measure import best_seconds, decode_rows, run_step
from bench.table import markdown
from sharding.batch import Bucket
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters, random_parameters
from sharding.mesh import make_mesh, use_devices
from sharding.runner import ModelRunner
from sharding.sizes import adapter_bytes
from sharding.step import Limits, Row
from sharding.steps import compile_steps
from tests.sharding.random_adapters import random_adapter

ADAPTERS = 8
PLAIN = Limits(page_size=32, num_pages=64, max_rows=8, max_step_tokens=128, max_context=256)
CONTEXT, PROMPT, DRAWS, REPEATS, ROUNDS = 64, 16, 8, 2, 5
RANDOM = GemmaConfig(
    vocab_size=16_384,
    embed_dim=640,
    mlp_dim=2048,
    num_layers=18,
    num_heads=4,
    num_kv_heads=1,
    head_dim=256,
    query_scale=256**-0.5,
    qk_norm=True,
    post_norms=True,
    sliding_window=512,
)


def with_adapters(rows: list[Row]) -> list[Row]:
    """The same rows, each with another adapter."""
    return [
        replace(row, opening=replace(row.opening, adapter=1 + index % ADAPTERS))
        for index, row in enumerate(rows)
        if row.opening is not None
    ]


def prefill_rows(rows: int) -> list[Row]:
    """Prompts of `PROMPT` tokens each."""
    return [
        replace(row, start=0, token_ids=[100 + index] * PROMPT, draws=1)
        for index, row in enumerate(decode_rows(rows, CONTEXT, PLAIN.page_size))
    ]


def buckets(limits: Limits) -> list[Bucket]:
    """Those that are measured."""
    shapes = ((1, 1), (8, 8), (8 * PROMPT, 8))
    return [Bucket(tokens, rows, limits.pages_per_sequence, limits.adapters) for tokens, rows in shapes]


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--rank", type=int, default=8, help="of each adapter, and the highest that may be loaded")
    options = parser.parse_args()

    use_devices("cpu")
    mesh, console = make_mesh(1), Console(stderr=True)
    if options.checkpoint is None:
        config, parameters = RANDOM, random_parameters(RANDOM, mesh, jnp.float32)
    else:
        checkpoint = open_checkpoint(options.checkpoint)
        config = checkpoint.config
        parameters = load(checkpoint, abstract_parameters(config, mesh, jnp.float32))
    limits = Limits(
        page_size=PLAIN.page_size,
        num_pages=PLAIN.num_pages,
        max_rows=PLAIN.max_rows,
        max_step_tokens=PLAIN.max_step_tokens,
        max_context=PLAIN.max_context,
        adapters=ADAPTERS,
        adapter_rank=options.rank,
    )
    plain, adapted = (
        ModelRunner(parameters, compile_steps(config, mesh, jnp.float32, each, buckets=buckets(each)))
        for each in track([PLAIN, limits], description="compiling", console=console)
    )
    for number in range(1, ADAPTERS + 1):
        adapted.load_adapter(number, adapted.place_adapter(random_adapter(config, number, options.rank)))
    decode = decode_rows(8, CONTEXT, PLAIN.page_size, draws=DRAWS)
    cases = {
        "decode, 8 rows": (decode, 8 * DRAWS),
        "decode, 1 row": (decode[:1], DRAWS),
        f"prefill, 8 x {PROMPT} tokens": (prefill_rows(8), 8 * PROMPT),
    }
    seconds: dict[tuple[str, str], float] = {}
    for _ in track(range(ROUNDS), description="measuring", console=console):  # in turns
        for name, (rows, _) in cases.items():
            runs = {
                "plain": (plain, rows),
                "no adapter": (adapted, rows),
                "adapters": (adapted, with_adapters(rows)),
            }
            for kind, (runner, given) in runs.items():
                measured = best_seconds(partial(run_step, runner, given), REPEATS)
                seconds[name, kind] = min(measured, seconds.get((name, kind), float("inf")))
    assert plain.recompilations == adapted.recompilations == 0

    table = []
    for name, (_, tokens) in cases.items():
        own = seconds[name, "plain"]
        shares = (f"{own / seconds[name, kind]:.0%}" for kind in ("no adapter", "adapters"))
        table.append((name, f"{tokens / own:.0f}", f"{tokens / seconds[name, 'adapters']:.0f}", *shares))
    header = ["float32", "tokens/s without", "with 8 adapters", "share, rows without one", "share, 8 adapters"]
    print(markdown(header, table))
    adapter = adapted.place_adapter(random_adapter(config, 1, options.rank))
    step = best_seconds(partial(run_step, adapted, decode[:1]), REPEATS)

    def load_and_step() -> None:
        adapted.load_adapter(1, adapter)
        run_step(adapted, decode[:1])

    loading = best_seconds(load_and_step, REPEATS) - step
    size = adapter_bytes(config, 1, jnp.dtype(jnp.float32).itemsize, options.rank)
    print(
        f"\nTaking in an adapter of rank {options.rank}, {size / 1e6:.1f} MB, from the device: {loading * 1e3:.0f} ms."
    )


if __name__ == "__main__":
    main()
