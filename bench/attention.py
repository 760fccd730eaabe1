"""Times one layer's attention of CodeGemma's shapes in bfloat16, by tiling, on a GPU: `python -m bench.attention`.

Each variant runs over 16 different places of the cache in one program, so that launches cost little.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp

from bench.attention_cases import Inputs, attend, inputs
from bench.measure import best_seconds
from bench.table import markdown
from sharding.attention import Attention, ReferenceAttention
from sharding.attention.gpu import TritonAttention
from sharding.attention.gpu.tiling import Tiling
from sharding.bandwidth import memory_bandwidth

PLACES, CALLS = 16, 4
HEADS = {"2B": (8, 1), "7B": (16, 16)}
PAGE_SIZE, CONTEXT = 64, 8192
DECODE_TILINGS = [
    Tiling(queries=16, keys=keys, warps=warps, stages=stages, shortest_split=split, most_splits=64)
    for keys, warps, stages in ((32, 2, 2), (32, 4, 2), (32, 4, 3), (64, 4, 1), (64, 4, 2))
    for split in (64, 128, 256)
]
DECODE_CASES = (
    ("2B", 1, 1000),
    ("2B", 1, 8000),
    ("2B", 32, 1000),
    ("2B", 128, 1000),
    ("7B", 32, 1000),
)
"""Model, rows, context."""
PREFILL_TILINGS = [
    Tiling(queries=queries, keys=keys, warps=warps, stages=stages, shortest_split=split, most_splits=8)
    for queries, keys, warps, stages in (
        (64, 32, 4, 2),
        (64, 32, 4, 3),
        (64, 64, 4, 2),
        (128, 32, 8, 3),
        (128, 64, 8, 2),
    )
    for split in (256, 512)
]
PREFILL_CASES = (("2B", 1024, 0), ("2B", 256, 0), ("2B", 256, 7000), ("7B", 1024, 0), ("7B", 256, 7000))
"""Model, new tokens, tokens before."""


def variants(make: Callable[[Tiling], Attention], tilings: Iterable[Tiling]) -> dict[str, Attention]:
    """Attention by what tells it apart."""
    kernels = {
        f"{t.queries} x {t.keys}, {t.warps} warps, {t.stages} stages, split {t.shortest_split}": make(t)
        for t in tilings
    }
    return kernels | {"reference": ReferenceAttention()}


def compile_layers(attention: Attention, case: Inputs) -> jax.stages.Compiled:
    """Attention over `PLACES` parts of the cache, one after the other, each with the pages of `case`."""

    def run(cache: jax.Array, case: Inputs) -> tuple[jax.Array, jax.Array]:
        q = case.q
        for place in range(PLACES):
            table = case.ragged.page_table + place * (cache.shape[0] // PLACES)
            ragged = case.ragged._replace(page_table=table)
            q, cache = attend(attention, case._replace(q=q, cache=cache, ragged=ragged), None)
        return q, cache  # without the output, XLA would leave out what only it needs

    return jax.jit(run, donate_argnums=0).lower(places(case), case).compile()


def places(case: Inputs) -> jax.ShapeDtypeStruct:
    """A cache with room for `PLACES` times the pages."""
    pages, *shape = case.cache.shape
    return jax.ShapeDtypeStruct((PLACES * pages, *shape), case.cache.dtype)


def layer_seconds(compiled: jax.stages.Compiled, case: Inputs) -> float:
    """Seconds of one layer."""
    cache = jnp.tile(case.cache, (PLACES, 1, 1, 1))

    def calls() -> None:
        nonlocal cache
        for _ in range(CALLS):
            _, cache = compiled(cache, case)
        cache.block_until_ready()

    calls()
    return best_seconds(calls, 5) / CALLS / PLACES


def compare(attentions: dict[str, Attention], cases: Mapping[str, Inputs], name: str) -> str:
    """A table of microseconds: a line for each variant, a column for each case."""
    with ThreadPoolExecutor() as pool:
        compiled = {
            (variant, label): pool.submit(compile_layers, attention, case)
            for variant, attention in attentions.items()
            for label, case in cases.items()
        }

    def row(variant: str) -> tuple[str, ...]:
        times = (layer_seconds(compiled[variant, label].result(), case) for label, case in cases.items())
        return variant, *(f"{seconds * 1e6:.1f}" for seconds in times)

    return markdown([f"µs a layer, {name}", *cases], map(row, attentions))


def main() -> None:
    """Prints two Markdown tables."""
    device = jax.devices()[0]
    print(f"Device: {device.device_kind}, copies {memory_bandwidth([device], 1 << 30) / 1e9:.0f} GB/s\n")
    decode = {
        f"{model}, {rows} x {context}": inputs(
            [(1, context)] * rows, rows, HEADS[model], PAGE_SIZE, CONTEXT, jnp.bfloat16
        )
        for model, rows, context in DECODE_CASES
    }
    print(
        compare(variants(lambda tiling: TritonAttention(decode_tiling=tiling), DECODE_TILINGS), decode, "decode"), "\n"
    )
    prefill = {
        f"{model}, {new} after {past}": inputs(
            [(new, past)], new, HEADS[model], PAGE_SIZE, CONTEXT, jnp.bfloat16, rows=8
        )
        for model, new, past in PREFILL_CASES
    }
    print(compare(variants(lambda tiling: TritonAttention(prefill_tiling=tiling), PREFILL_TILINGS), prefill, "prefill"))


if __name__ == "__main__":
    main()
