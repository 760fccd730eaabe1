"""Accuracy on a GPU: against a CPU in float32, and of kernels against the reference on the same device."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace

from bench.attention_cases import inputs, largest_error
from bench.gpu.model import FORMATS, MAX_CONTEXT, PAGE_SIZE, SHAPES, make_runner, small
from bench.measure import decode_rows
from bench.table import markdown
from sharding.adapters import Adapter
from sharding.attention import ReferenceAttention, attention_for
from sharding.batch import Bucket
from sharding.compiler_options import compiler_options
from sharding.config import GemmaConfig
from sharding.draw import Draw
from sharding.gemma import random_parameters
from sharding.kept import Kept
from sharding.mesh import make_mesh
from sharding.sampling import sample
from sharding.step import MAX_BIASES, MAX_DRAWS, MAX_LOGPROBS, Opening, Row, SamplingParams, Token
from sharding.weights import QuantisedWeight, Weight, dequantise
from tests.sharding.random_adapters import random_adapter

FAILS = "**fails**"
ATTENTION_TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
"""Of a row's output, as |difference| / |reference|."""
LOGITS_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-1}
"""Of the largest deviation, over the largest logit: two layers of bfloat16 against float32 on a CPU."""
HOT = SamplingParams(temperature=100.0, top_k=50, top_p=0.95, seed=5, logprobs=3)
"""Random weights repeat their token at any temperature that people use."""
ADAPTERS, RANK = 8, 8
"""How many a model with adapters has room for, and their rank."""
ATTENTION_HEADS = ((8, 1), (16, 16), (8, 2))
"""Query heads and KV heads."""
ATTENTION_PAGES = 256
ATTENTION_CASES = {
    "decode": ([(1, 0), (1, 1), (1, 63), (1, 64), (1, 65), (1, 500), (1, 3000), (1, 8100)], 8),
    "decode, unused rows": ([(1, 700), (1, 5)], 8),
    "prefill": ([(300, 0), (64, 64), (129, 1000), (2, 63)], 512),
    "mixed": ([(1, 4000), (200, 37), (1, 0), (100, 2500), (1, 64)], 512),
}
"""Tokens in this step and before of each row, and T."""


def logits(
    parameters: Mapping[str, Weight], config: GemmaConfig, device: jax.Device, adapter: Adapter | None = None
) -> np.ndarray:
    """Logits after a prompt in two chunks and after each of some decode steps: [steps, V]; maybe with an adapter."""
    adapters = 0 if adapter is None else ADAPTERS
    bucket = Bucket(64, 1, MAX_CONTEXT // PAGE_SIZE, adapters)
    runner = make_runner(parameters, config, device, 4, [bucket], adapter_rank=RANK)
    if adapter is not None:
        runner.load_adapter(adapters, runner.place_adapter(adapter))
    tokens = np.random.default_rng(0).integers(0, 1024, 100).tolist()
    chunks = [(0, 60), (60, 92), *((position, position + 1) for position in range(92, 100))]
    pages, opening = [3, 1], Opening(adapter=adapters)
    rows = [
        Row(slot=0, start=start, token_ids=tokens[start:end], draws=1, pages=pages, opening=opening)
        for start, end in chunks
    ]
    return np.concatenate([runner.logits([row]) for row in rows])


def compare_logits(device: jax.Device) -> str:
    """The largest deviation of the logits, relative to the largest logit; the CPU computes in float32."""
    cpu = jax.devices("cpu")[0]

    def compare(name: str, weights: str) -> tuple[object, ...]:
        plain, config, parameters, exact, tolerance = _random_model(name, weights, cpu)
        expected = logits(exact, plain, cpu)
        error = float(np.abs(logits(parameters, config, device) - expected).max() / np.abs(expected).max())
        return name, weights, f"{error:.1e}", f"{tolerance:.0e}", _verdict(error < tolerance)

    with ThreadPoolExecutor() as pool:  # most of the time goes into compiling
        rows = list(pool.map(lambda case: compare(*case), product(SHAPES, ("float32", *FORMATS))))
    return markdown(["heads of", "weights", "largest error of logits", "tolerance", ""], rows)


def compare_adapters(device: jax.Device) -> str:
    """The largest deviation of the logits with an adapter, relative to the largest; the CPU computes in float32."""
    cpu = jax.devices("cpu")[0]

    def compare(name: str, weights: str) -> tuple[object, ...]:
        plain, config, parameters, exact, tolerance = _random_model(name, weights, cpu)
        adapter = random_adapter(plain, 1, RANK)
        without, expected = logits(exact, plain, cpu), logits(exact, plain, cpu, adapter)
        largest = np.abs(expected).max()
        error = float(np.abs(logits(parameters, config, device, adapter) - expected).max() / largest)
        changed = float(np.abs(without - expected).max() / largest)
        holds = error < min(tolerance, changed / 3)
        return name, weights, f"{error:.1e}", f"{tolerance:.0e}", f"{changed:.1e}", _verdict(holds)

    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda case: compare(*case), product(SHAPES, ("float32", "bfloat16", "int8-weights"))))
    header = ["heads of", "weights", "largest error of logits", "tolerance", "what the adapter changes", ""]
    return markdown(header, rows)


def _random_model(
    name: str, weights: str, cpu: jax.Device
) -> tuple[GemmaConfig, GemmaConfig, Mapping[str, Weight], Mapping[str, Weight], float]:
    """Its shape without and with its quantisation, its weights as they are and in float32, and the tolerance."""
    plain = small(SHAPES[name])
    dtype = jnp.float32 if weights == "float32" else jnp.bfloat16
    config = plain.quantised(FORMATS.get(weights))
    parameters = random_parameters(config, make_mesh(1, [cpu]), dtype)
    exact = {path: _exact(weight) for path, weight in parameters.items()}
    return plain, config, parameters, exact, LOGITS_TOLERANCE[jnp.dtype(dtype).name]


def _exact(weight: Weight) -> jax.Array:
    if isinstance(weight, QuantisedWeight):
        return dequantise(weight.values, weight.scales, np.dtype(np.float32))
    return weight.astype(jnp.float32)


def compare_sampling(device: jax.Device) -> str:
    """The tokens that the device draws from the same logits as the CPU, compiled as in a step."""
    rows, vocab_size = 64, 32 * 2048
    rng = np.random.default_rng(0)
    logits = 4 * rng.standard_normal((rows, vocab_size), np.float32)
    index = np.arange(rows)
    penalised = index % 7 == 0
    draw = Draw(
        slots=jnp.asarray(index, jnp.int32),
        positions=jnp.asarray(index, jnp.int32),
        temperature=jnp.where(index % 4, 0.8, 0).astype(jnp.float32),
        top_k=jnp.where(index % 3, 50, 0).astype(jnp.int32),
        top_p=jnp.where(index % 2, 0.95, 1).astype(jnp.float32),
        min_p=jnp.where(index % 6, 0, 0.1).astype(jnp.float32),
        seed=jnp.asarray(index, jnp.uint32),
        wants_logprobs=jnp.asarray(index % 5 == 0, jnp.int32),
        has_penalties=jnp.asarray(penalised, jnp.int32),
        presence_penalty=jnp.where(penalised, 1, 0).astype(jnp.float32),
        frequency_penalty=jnp.where(penalised, 0.5, 0).astype(jnp.float32),
        repetition_penalty=jnp.where(penalised, 1.2, 1).astype(jnp.float32),
        penalty_window=jnp.asarray(index % 2 * 16, jnp.int32),
        prompt_tokens=jnp.asarray(index // 2, jnp.int32),
        num_biases=jnp.where(index % 9, 0, MAX_BIASES).astype(jnp.int32),
    )
    kept = Kept(
        newest=jnp.zeros(rows, jnp.int32),
        token_ids=jnp.asarray(rng.integers(0, vocab_size, (rows, rows)), jnp.int32),
        bias_ids=jnp.asarray([rng.choice(vocab_size, MAX_BIASES, replace=False) for _ in range(rows)], jnp.int32),
        biases=jnp.asarray(rng.standard_normal((rows, MAX_BIASES)), jnp.float32),
    )
    drawn = []
    for where in (jax.devices("cpu")[0], device):
        arguments = jax.device_put((logits, draw, kept), where)
        lowered = jax.jit(partial(sample, max_logprobs=MAX_LOGPROBS)).lower(*arguments)
        drawn.append(jax.tree.map(np.asarray, lowered.compile(compiler_options(where.platform, None))(*arguments)))
    same = int((drawn[0].token_ids == drawn[1].token_ids).sum())
    same_top = bool((drawn[0].top_ids == drawn[1].top_ids).all())
    return (
        f"{same} of {rows} draws give the CPU's token: {_verdict(same == rows)}. "
        f"The {MAX_LOGPROBS} most likely tokens are the CPU's: {_verdict(same_top)}."
    )


def compare_loops(device: jax.Device) -> str:
    """The tokens that rows draw in a loop on the device, and in as many steps."""
    config = small(SHAPES["CodeGemma 2B"])
    parameters = random_parameters(config, make_mesh(1, [device]), jnp.bfloat16)
    buckets = [Bucket(8, 8, MAX_CONTEXT // PAGE_SIZE), Bucket(64, 8, MAX_CONTEXT // PAGE_SIZE)]
    runner = make_runner(parameters, config, device, 64, buckets)
    looping = decode_rows(8, 100, PAGE_SIZE, HOT, MAX_DRAWS)
    runner.launch(looping)
    looped = runner.land()
    alone: list[list[Token]] = [[] for _ in looping]
    for draw in range(MAX_DRAWS):
        steps = [replace(row, start=row.start + draw, draws=1) for row in looping]
        if draw:
            steps = [replace(row, token_ids=[], opening=None) for row in steps]  # they go on with what they drew
        runner.launch(steps)
        for tokens, landed in zip(alone, runner.land(), strict=True):
            tokens += landed
    return f"8 rows draw the same {MAX_DRAWS} tokens in a loop and in steps: {_verdict(looped == alone)}"


def compare_attention(device: jax.Device, shapes: Sequence[tuple[int, int]]) -> str:
    """The device's attention against the reference in float32 on the same device, for so many query and KV heads."""
    attention = attention_for(device.platform)

    def compare(heads: tuple[int, int], dtype: str, kind: str) -> tuple[object, ...]:
        lens, tokens = ATTENTION_CASES[kind]
        case = inputs(lens, tokens, heads, PAGE_SIZE, MAX_CONTEXT, dtype, rows=8, num_pages=ATTENTION_PAGES)
        compared = [largest_error(attention, ReferenceAttention(), case, window) for window in (None, 512)]
        tolerance = ATTENTION_TOLERANCE[dtype]
        holds = all(error < tolerance and same_cache for error, same_cache in compared)
        figures = (f"{error:.1e}" for error, _ in compared)
        return f"{heads[0]}, {heads[1]}", dtype, kind, *figures, f"{tolerance:.0e}", _verdict(holds)

    cases = product(shapes, ATTENTION_TOLERANCE, ATTENTION_CASES)
    with ThreadPoolExecutor() as pool:  # most of the time goes into compiling
        rows = list(pool.map(lambda case: compare(*case), cases))
    return markdown(["heads, KV heads", "dtype", "rows", "largest error", "with a window", "tolerance", ""], rows)


def _verdict(holds: bool) -> str:
    return "holds" if holds else FAILS
