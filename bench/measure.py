"""What the decode benchmarks share: timing a runner."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sharding.runner import ModelRunner


@dataclass(frozen=True)
class Sampling:
    """A `sharding.batch.SamplingParams`, by default greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    logprobs: int | None = None


@dataclass(frozen=True)
class Row:
    """A `sharding.batch.Row`."""

    token_ids: Sequence[int]
    start: int
    pages: Sequence[int]
    sampling: Sampling | None = Sampling()


@dataclass(frozen=True)
class Limits:
    """`sharding.runner.Limits`."""

    page_size: int
    num_pages: int
    max_rows: int
    max_step_tokens: int
    max_context: int


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` runs: what the machine can do when nothing else disturbs it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def decode_seconds(runner: ModelRunner[Limits], batch: int, context: int, repeats: int) -> float:
    """Seconds of one decode step of `batch` rows with `context` tokens each, the host's part included."""
    limits = runner.limits
    pages = -(-(context + 1) // limits.page_size)
    rows = [Row([100 + index], context, range(index * pages, (index + 1) * pages)) for index in range(batch)]
    runner.step(rows)
    return best_seconds(lambda: runner.step(rows), repeats)
