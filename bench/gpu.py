"""Checks and measures the model on the first accelerator that JAX sees: `python -m bench.gpu --report gpu.md`.

First accuracy: logits against the same model on the CPU in float32, and the attention kernels against the reference in
float32. Then speed with CodeGemma's shapes and random weights in bfloat16: decode, prefill, the host's part of a step,
and what the device does in one. `--tiny` runs the same code with small shapes, on any machine.

It ends within `--minutes`: what no time is left for is skipped, and named in the report.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace as replace_fields

from bench.attention_cases import inputs, largest_error
from bench.device_profile import profile
from bench.measure import GREEDY, decode_rows
from bench.table import markdown
from sharding.attention import Attention, ReferenceAttention, attention_for
from sharding.bandwidth import memory_bandwidth
from sharding.batch import Bucket
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.gemma import random_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.sampling import Draw, sample
from sharding.sizes import kv_bytes_per_token, weight_bytes
from sharding.step import MAX_DRAWS, Limits, Opening, Row, SamplingParams
from sharding.steps import compile_steps

PAGE_SIZE = 64
MAX_CONTEXT = 8192
SHAPES = {"CodeGemma 2B": CODEGEMMA_2B, "CodeGemma 7B": CODEGEMMA_7B}
DECODE = ((1, 1000), (8, 1000), (32, 1000), (128, 500), (1, 8000), (8, 8000))
"""Rows, and tokens in each one's context."""
PREFILL = ((256, 0), (1024, 0), (256, 7000))
"""Tokens of one row, and tokens in its context before."""
PREFILL_ROWS = 32
REPEATS = 20
SAMPLED = SamplingParams(temperature=0.8, top_k=50, top_p=0.95)

FAILS = "**fails**"
ATTENTION_TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
"""Of a row's output, as |difference| / |reference|."""
LOGITS_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-1}
"""Of the largest deviation, over the largest logit: two layers of bfloat16 against float32 on a CPU."""
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


@dataclass
class Report:
    """Sections of Markdown, printed and written as they come: what is measured is kept when a machine is lost.

    Attributes:
      path: where to write it; None: nowhere.
      deadline: of `time.monotonic`.
      began: likewise.
      sections: so far.
    """

    path: Path | None
    deadline: float
    began: float = field(default_factory=time.monotonic)
    sections: list[str] = field(default_factory=list)

    def add(self, section: str) -> None:
        self.sections.append(section)
        print(f"{section}\n", flush=True)
        if self.path:
            self.path.write_text("\n\n".join(self.sections) + "\n")

    def has_time(self, seconds: float, part: str) -> bool:
        """Whether a part that takes about so long still fits; says so if not."""
        fits = time.monotonic() + seconds < self.deadline
        if not fits:
            self.add(f"Skipped for lack of time: {part}.")
        return fits

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        print(f"[{part}: {time.monotonic() - began:.0f} s, {time.monotonic() - self.began:.0f} s so far]\n", flush=True)


def small(config: GemmaConfig) -> GemmaConfig:
    """The same heads in a small model."""
    return replace(config, vocab_size=1024, embed_dim=256, mlp_dim=512, num_layers=2)


def make_runner(
    parameters: Mapping[str, jax.Array],
    config: GemmaConfig,
    device: jax.Device,
    num_pages: int,
    buckets: Sequence[Bucket],
    attention: Attention | None = None,
) -> ModelRunner:
    """A runner on one device for these shapes of steps alone."""
    mesh = make_mesh(1, [device])
    limits = Limits(
        page_size=PAGE_SIZE,
        num_pages=num_pages,
        max_rows=max(bucket.rows for bucket in buckets),
        max_step_tokens=max(bucket.tokens for bucket in buckets),
        max_context=MAX_CONTEXT,
    )
    steps = compile_steps(config, mesh, parameters["embedder.weight"].dtype, limits, attention, buckets)
    on_device = {path: jax.device_put(value, steps.parameters[path].sharding) for path, value in parameters.items()}
    return ModelRunner(on_device, steps)


def buckets_for(decode: Sequence[tuple[int, int]], prefill: Sequence[tuple[int, int]]) -> list[Bucket]:
    """The shapes of the steps to measure, each of them once."""
    pages = MAX_CONTEXT // PAGE_SIZE
    return [
        *(Bucket(rows, rows, pages) for rows in sorted({rows for rows, _ in decode})),
        *(Bucket(tokens, PREFILL_ROWS, pages) for tokens in sorted({tokens for tokens, _ in prefill})),
    ]


def logits(parameters: Mapping[str, jax.Array], config: GemmaConfig, device: jax.Device) -> np.ndarray:
    """Logits after a prompt in two chunks and after each of some decode steps: [steps, V]."""
    runner = make_runner(parameters, config, device, 4, [Bucket(64, 1, 2)])
    tokens = np.random.default_rng(0).integers(0, 1024, 100).tolist()
    chunks = [(0, 60), (60, 92), *((position, position + 1) for position in range(92, 100))]
    pages, opening = [3, 1], Opening()
    rows = [
        Row(slot=0, start=start, token_ids=tokens[start:end], draws=1, pages=pages, opening=opening)
        for start, end in chunks
    ]
    return np.concatenate([runner.logits([row]) for row in rows])


def compare_logits(device: jax.Device) -> str:
    """The largest deviation of the logits, relative to the largest logit, by dtype; the CPU computes in float32."""
    cpu = jax.devices("cpu")[0]
    rows = []
    for name, full in SHAPES.items():
        config = small(full)
        for dtype in (jnp.float32, jnp.bfloat16):
            parameters = random_parameters(config, make_mesh(1, [cpu]), dtype)
            exact = {path: value.astype(jnp.float32) for path, value in parameters.items()}
            expected = logits(exact, config, cpu)
            error = float(np.abs(logits(parameters, config, device) - expected).max() / np.abs(expected).max())
            tolerance = LOGITS_TOLERANCE[jnp.dtype(dtype).name]
            rows.append((name, jnp.dtype(dtype).name, f"{error:.1e}", f"{tolerance:.0e}", _verdict(error < tolerance)))
    return markdown(["heads of", "dtype", "largest error of logits", "tolerance", ""], rows)


def compare_sampling(device: jax.Device) -> str:
    """The tokens that the device draws from the same logits as the CPU."""
    rows, vocab_size = 64, 4096
    logits = 4 * np.random.default_rng(0).standard_normal((rows, vocab_size), np.float32)
    index = np.arange(rows)
    draw = Draw(
        positions=index.astype(np.int32),
        temperature=np.where(index % 4, 0.8, 0).astype(np.float32),
        top_k=np.where(index % 3, 50, 0).astype(np.int32),
        top_p=np.where(index % 2, 0.95, 1).astype(np.float32),
        seed=index.astype(np.uint32),
        wants_logprobs=(index % 5 == 0).astype(np.int32),
    )
    tokens = [
        np.asarray(jax.jit(partial(sample, max_logprobs=20))(*jax.device_put((logits, draw), where)).token_ids)
        for where in (jax.devices("cpu")[0], device)
    ]
    same = int((tokens[0] == tokens[1]).sum())
    return f"{same} of {rows} draws give the CPU's token: {_verdict(same == rows)}"


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


def measure_model(report: Report, name: str, config: GemmaConfig, device: jax.Device, limit: float) -> None:
    """Decode and prefill of one model, and a profile of one decode step."""
    parameters = random_parameters(config, make_mesh(1, [device]), jnp.bfloat16)
    num_pages = max(rows * -(-(context + MAX_DRAWS) // PAGE_SIZE) for rows, context in DECODE)
    with report.timed(f"compiling {name}"):
        runner = make_runner(parameters, config, device, num_pages, buckets_for(DECODE, PREFILL))
    times = {case: step_times(runner, looping_rows(*case)) for case in DECODE}
    prefill_times = {case: step_times(runner, prefill_rows(*case)) for case in PREFILL}
    alone = profile(lambda: _seconds(runner, decode_rows(*DECODE[0], PAGE_SIZE), 1))
    sampled = step_times(runner, decode_rows(*DECODE[0], PAGE_SIZE, SAMPLED)).whole
    del runner

    reference: dict[tuple[int, int], StepTimes] = {}
    compared = [DECODE[0], DECODE[2], DECODE[4]], [PREFILL[1]]
    if report.has_time(60, f"reference attention for {name}"):
        with report.timed(f"reference for {name}"):
            shapes = buckets_for(*compared)
            runner = make_runner(parameters, config, device, num_pages, shapes, ReferenceAttention())
            reference = {case: step_times(runner, looping_rows(*case)) for case in compared[0]}
            reference |= {case: step_times(runner, prefill_rows(*case)) for case in compared[1]}
            del runner

    weights = weight_bytes(config, 1, 2)
    kv = kv_bytes_per_token(config, 1, 2)

    def ratio(case: tuple[int, int], seconds: float) -> str:
        return f"{reference[case].queued / seconds:.1f}" if case in reference else ""

    rows = []
    for (batch, context), seconds in times.items():
        floor = (weights + batch * context * kv) / limit
        rows.append(
            (
                f"{batch} x {context}",
                f"{seconds.whole * 1e3:.2f}",
                f"{seconds.queued * 1e3:.2f}",
                f"{seconds.looped * 1e3:.2f}",
                f"{floor * 1e3:.2f}",
                f"{floor / seconds.whole:.0%}",
                f"{floor / seconds.looped:.0%}",
                f"{batch / seconds.looped:.0f}",
                f"{seconds.host * 1e3:.2f}",
                ratio((batch, context), seconds.queued),
            )
        )
    header = [
        "rows x context",
        "ms a token",
        "queued, ms",
        "in a loop, ms",
        "floor, ms",
        "of bandwidth",
        "in a loop",
        "tokens/s",
        "host, ms",
    ]
    report.add(f"### {name}: decode\n\n" + markdown([*header, "reference / kernel"], rows))
    matrices = weights // 2 - config.vocab_size * config.embed_dim  # the embeddings are used for one token only
    report.add(
        f"### {name}: prefill\n\n"
        + markdown(
            ["tokens", "ms", "queued, ms", "tokens/s", "TFLOP/s of projections", "reference / kernel"],
            [
                (
                    f"{tokens} after {past}",
                    f"{seconds.whole * 1e3:.2f}",
                    f"{seconds.queued * 1e3:.2f}",
                    f"{tokens / seconds.queued:.0f}",
                    f"{2 * matrices * tokens / seconds.queued / 1e12:.0f}",
                    ratio((tokens, past), seconds.queued),
                )
                for (tokens, past), seconds in prefill_times.items()
            ],
        )
    )
    report.add(
        f"### {name}: one decode step of 1 x {DECODE[0][1]}\n\n"
        f"{sum(alone.counts.values())} operations keep the device busy for {alone.busy_seconds * 1e3:.2f} ms. "
        f"The step takes {times[DECODE[0]].whole * 1e3:.2f} ms; {sampled * 1e3:.2f} ms with top-k and top-p.\n\n"
        + markdown(
            ["operation", "count", "ms", "share"],
            [
                (kind, alone.counts[kind], f"{seconds * 1e3:.3f}", f"{seconds / alone.busy_seconds:.0%}")
                for kind, seconds in alone.seconds.most_common(16)
            ],
        )
    )


def main() -> None:
    """Prints the report, and writes it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try this on any machine")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--minutes", type=float, default=6.0, help="skip what would take longer")
    options = parser.parse_args()
    report = Report(options.report, time.monotonic() + 60 * options.minutes)
    device = jax.devices()[0]

    limit = memory_bandwidth([device], size=(1 << 26) if options.tiny else (1 << 31))
    report.add(
        f"Device: {device.device_kind} ({device.platform}), jax {jax.__version__}, copies {limit / 1e9:.0f} GB/s."
    )
    with report.timed("logits"):
        report.add("### Logits against the CPU\n\n" + compare_logits(device))
    with report.timed("sampling"):
        report.add("### Sampling against the CPU\n\n" + compare_sampling(device))
    with report.timed("attention"):
        shapes = ATTENTION_HEADS[:1] if options.tiny else ATTENTION_HEADS
        report.add("### Attention against the reference\n\n" + compare_attention(device, shapes))
    for name, config in SHAPES.items():
        if report.has_time(90, f"speed of {name}"):
            with report.timed(name):
                measure_model(report, name, small(config) if options.tiny else config, device, limit)
    if FAILS in "".join(report.sections):
        sys.exit("The results are not those of the reference: see above.")


if __name__ == "__main__":
    main()
