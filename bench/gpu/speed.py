"""Speed on a GPU: decode, prefill, the host's part of a step, and what the device does in one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import jax
import jax.numpy as jnp
from msgspec.structs import replace as replace_fields

from bench.adapters import with_adapters
from bench.device_profile import profile
from bench.gpu.accuracy import ADAPTERS, RANK
from bench.gpu.model import MAX_CONTEXT, PAGE_SIZE, make_runner
from bench.gpu.report import Report
from bench.measure import GREEDY, decode_rows
from bench.table import markdown
from sharding.attention import ReferenceAttention
from sharding.batch import Bucket
from sharding.buckets import bucket_sizes
from sharding.config import GemmaConfig
from sharding.gemma import random_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.sizes import kv_bytes_per_token, weight_bytes
from sharding.step import MAX_DRAWS, Opening, Row, SamplingParams
from tests.sharding.random_adapters import random_adapter

DECODE = ((1, 1000), (8, 1000), (32, 1000), (128, 500), (1, 8000), (8, 8000))
FEW_DECODE = DECODE[:3]
"""Rows, and tokens in each one's context."""
PREFILL = ((256, 0), (1024, 0), (256, 7000))
"""Tokens of one row, and tokens in its context before."""
PREFILL_ROWS = 32
ADAPTED_DECODE = DECODE[:3]
COMPARED = (DECODE[0], DECODE[2], DECODE[4])
REPEATS = 20
SAMPLED = SamplingParams(temperature=0.8, top_k=50, top_p=0.95)


def buckets_for(
    config: GemmaConfig, decode: Sequence[tuple[int, int]], prefill: Sequence[tuple[int, int]]
) -> list[Bucket]:
    """The shapes of the steps to measure, each of them once; one row in the shape that a GPU runs it in."""
    pages = MAX_CONTEXT // PAGE_SIZE
    least = bucket_sizes("gpu", "bfloat16", PREFILL_ROWS, 1024, quantised=config.quantization is not None)
    return [
        *(Bucket(rows, rows, pages) for rows in sorted({max(rows, least.decode_rows[0]) for rows, _ in decode})),
        *(Bucket(tokens, PREFILL_ROWS, pages) for tokens in sorted({tokens for tokens, _ in prefill})),
    ]


def looping_rows(rows: int, context: int) -> list[Row]:
    """Rows that decode in a loop."""
    return decode_rows(rows, context, PAGE_SIZE, GREEDY, MAX_DRAWS)


def prefill_rows(tokens: int, past: int) -> list[Row]:
    """One row of so many tokens."""
    pages = range(-(-(past + tokens) // PAGE_SIZE))
    return [Row(slot=0, start=past, token_ids=[7] * tokens, draws=1, pages=pages, opening=Opening())]


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step.

    Attributes:
      whole: until its tokens are on the host, the median.
      queued: of steps that are launched one behind the other, as an engine does.
      host: until a step is launched.
      looped: of a round in a loop on the device; of steps with several tokens in a row, as `queued`.
    """

    whole: float
    queued: float
    host: float
    looped: float


def step_times(runner: ModelRunner, rows: Sequence[Row]) -> StepTimes:
    """Measures one shape of step; the rows of a decode step may draw several tokens, in the measurement of loops."""
    single = [replace_fields(row, draws=1) for row in rows]
    whole = [_seconds(runner, single, 1)[0] for _ in range(REPEATS + 3)]
    waiting = median(whole[3:])
    queued, host = _seconds(runner, single, REPEATS)
    looped = queued / REPEATS
    if rows[0].draws > 1:
        _seconds(runner, rows, 1)
        looped = _seconds(runner, rows, 3)[0] / 3 / rows[0].draws
    return StepTimes(waiting, queued / REPEATS, min(host), looped)


def _seconds(runner: ModelRunner, rows: Sequence[Row], steps: int) -> tuple[float, list[float]]:
    """Of so many steps, launched one behind the other; and of each launch."""
    host = []
    began = time.perf_counter()
    for _ in range(steps):
        call = time.perf_counter()
        runner.launch(rows)
        host.append(time.perf_counter() - call)
    for _ in range(steps):
        runner.land()
    return time.perf_counter() - began, host


def measure_model(
    report: Report,
    name: str,
    config: GemmaConfig,
    device: jax.Device,
    limit: float,
    decode: Sequence[tuple[int, int]] = DECODE,
    prefill: Sequence[tuple[int, int]] = PREFILL,
) -> None:
    """Decode and prefill of one model, and a profile of one decode step; `limit` in bytes per second."""
    parameters = random_parameters(config, make_mesh(1, [device]), jnp.bfloat16)
    with report.timed(f"compiling {name}"):
        runner = make_runner(parameters, config, device, _pages(decode), buckets_for(config, decode, prefill))
    times = {case: step_times(runner, looping_rows(*case)) for case in decode}
    report.add(f"### {name}: decode\n\n" + _decode_table(config, limit, times))
    prefill_times = {case: step_times(runner, prefill_rows(*case)) for case in prefill}
    report.add(f"### {name}: prefill\n\n" + _prefill_table(config, prefill_times))

    batch, context = decode[0]
    alone = profile(lambda: _seconds(runner, decode_rows(batch, context, PAGE_SIZE), 1))
    sampled = step_times(runner, decode_rows(batch, context, PAGE_SIZE, SAMPLED, MAX_DRAWS)).looped
    operations = [
        (kind, alone.counts[kind], f"{seconds * 1e3:.3f}", f"{seconds / alone.busy_seconds:.0%}")
        for kind, seconds in alone.seconds.most_common(16)
    ]
    report.add(
        f"### {name}: one decode step of {batch} x {context}\n\n"
        f"{sum(alone.counts.values())} operations keep the device busy for {alone.busy_seconds * 1e3:.2f} ms. A round "
        f"of a loop takes {times[decode[0]].looped * 1e3:.2f} ms; {sampled * 1e3:.2f} ms with top-k and top-p.\n\n"
        + markdown(["operation", "count", "ms", "share"], operations)
    )


def compare_with_reference(report: Report, name: str, config: GemmaConfig, device: jax.Device) -> None:
    """Steps with the kernels beside steps with `ReferenceAttention`, plain XLA loops."""
    parameters = random_parameters(config, make_mesh(1, [device]), jnp.bfloat16)
    cases = {
        **{f"decode, {batch} x {context}": looping_rows(batch, context) for batch, context in COMPARED},
        f"prefill of {PREFILL[1][0]}": prefill_rows(*PREFILL[1]),
    }
    seconds = []
    with report.timed(f"reference for {name}"):
        for attention in (None, ReferenceAttention()):
            buckets = buckets_for(config, COMPARED, PREFILL[1:2])
            runner = make_runner(parameters, config, device, _pages(COMPARED), buckets, attention)
            seconds.append([step_times(runner, rows).queued for rows in cases.values()])
            del runner
    rows = [
        (case, f"{kernels * 1e3:.2f}", f"{reference * 1e3:.2f}", f"{reference / kernels:.1f}")
        for case, kernels, reference in zip(cases, *seconds, strict=True)
    ]
    report.add(f"### {name}: attention\n\n" + markdown(["queued", "kernels, ms", "reference, ms", "ratio"], rows))


def measure_adapters(report: Report, name: str, config: GemmaConfig, device: jax.Device) -> None:
    """Decode and prefill of a model whose rows have eight adapters between them, beside the same model without."""
    parameters = random_parameters(config, make_mesh(1, [device]), jnp.bfloat16)
    buckets = buckets_for(config, ADAPTED_DECODE, PREFILL[1:2])
    with report.timed(f"compiling {name} with adapters"):
        plain = make_runner(parameters, config, device, _pages(ADAPTED_DECODE), buckets)
        adapted = make_runner(
            parameters,
            config,
            device,
            _pages(ADAPTED_DECODE),
            [replace(bucket, adapters=ADAPTERS) for bucket in buckets],
            adapter_rank=RANK,
        )
    for number in range(1, ADAPTERS + 1):
        adapted.load_adapter(number, adapted.place_adapter(random_adapter(config, number, RANK)))
    cases = {
        **{f"decode, {batch} x {context}": looping_rows(batch, context) for batch, context in ADAPTED_DECODE},
        f"prefill of {PREFILL[1][0]}": prefill_rows(*PREFILL[1]),
    }
    rows = []
    for case, given in cases.items():
        runs = ((plain, given), (adapted, given), (adapted, with_adapters(given)))
        own, without, own_adapters = (step_times(runner, rows).looped * 1e3 for runner, rows in runs)
        rows.append((case, f"{own:.2f}", f"{without:.2f}", f"{own_adapters:.2f}", f"{own / own_adapters:.0%}"))
    header = ["in a loop", "model, ms", "with room for 8 adapters", "rows with 8 adapters", "of the model's tokens/s"]
    report.add(f"### {name}: adapters of rank {RANK}\n\n" + markdown(header, rows))


def _pages(decode: Sequence[tuple[int, int]]) -> int:
    return max(rows * -(-(context + MAX_DRAWS) // PAGE_SIZE) for rows, context in decode)


def _decode_table(config: GemmaConfig, limit: float, times: Mapping[tuple[int, int], StepTimes]) -> str:
    weights, kv = weight_bytes(config, 1, 2), kv_bytes_per_token(config, 1, 2)
    rows = []
    for (batch, context), seconds in times.items():
        floor = (weights + batch * context * kv) / limit
        rows.append(
            (
                f"{batch} x {context}",
                f"{seconds.looped * 1e3:.2f}",
                f"{seconds.queued * 1e3:.2f}",
                f"{seconds.whole * 1e3:.2f}",
                f"{floor * 1e3:.2f}",
                f"{floor / seconds.looped:.0%}",
                f"{batch / seconds.looped:.0f}",
                f"{seconds.host * 1e3:.2f}",
            )
        )
    header = ["rows x context", "in a loop, ms a token", "queued", "waited for", "floor", "of it", "tokens/s", "launch"]
    return markdown(header, rows)


def _prefill_table(config: GemmaConfig, times: Mapping[tuple[int, int], StepTimes]) -> str:
    matrices = weight_bytes(replace(config, quantization=None), 1, 1)
    matrices -= config.vocab_size * config.embed_dim  # the embeddings are used for one token only
    rows = [
        (
            f"{tokens} after {past}",
            f"{seconds.whole * 1e3:.2f}",
            f"{seconds.queued * 1e3:.2f}",
            f"{tokens / seconds.queued:.0f}",
            f"{2 * matrices * tokens / seconds.queued / 1e12:.0f}",
        )
        for (tokens, past), seconds in times.items()
    ]
    return markdown(["tokens", "waited for, ms", "queued", "tokens/s", "TFLOP/s of projections"], rows)
