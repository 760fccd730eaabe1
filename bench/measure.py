"""What the decode benchmarks share: timing a runner."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from sharding.runner import ModelRunner
from sharding.step import Opening, Row, SamplingParams

GREEDY = SamplingParams()


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` runs: what the machine can do when nothing else disturbs it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def decode_rows(
    batch: int, context: int, page_size: int, sampling: SamplingParams = GREEDY, draws: int = 1
) -> list[Row]:
    """Rows that decode, with so many tokens each in the KV cache."""
    pages = -(-(context + draws) // page_size)
    return [
        Row(
            slot=index,
            start=context,
            token_ids=[100 + index],
            draws=draws,
            pages=range(index * pages, (index + 1) * pages),
            opening=Opening(sampling=sampling),
        )
        for index in range(batch)
    ]


def decode_seconds(runner: ModelRunner, batch: int, context: int, repeats: int) -> float:
    """Seconds of one decode step of `batch` rows with `context` tokens each, the host's part included."""
    rows = decode_rows(batch, context, runner.limits.page_size)

    run_step(runner, rows)
    return best_seconds(partial(run_step, runner, rows), repeats)


def run_step(runner: ModelRunner, rows: Sequence[Row]) -> None:
    """Launches a step and waits for it."""
    runner.launch(rows)
    runner.land()
