"""What the step-plan channel adds to a step of a replica group of several hosts, whose steps take no time here.

    python -m bench.channel

A plan of 8 rows in decode, each with 2048 tokens of context, goes to 1, 2 and 4 processes and back.
"""

import multiprocessing
import secrets
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from bench.table import markdown
from serving.group.channel import TOKEN_BYTES, HostChannel, LeaderChannel
from sharding.step import Row, SamplingParams, Token

ROWS, CONTEXT, PAGE_SIZE = 8, 2048, 32
WARM_UP, STEPS = 500, 5000


class NoModel:
    """Answers each row with a token at once."""

    recompilations = 0
    tokens: Sequence[Token | None] = [Token(100 + row) for row in range(ROWS)]

    def step(self, rows: Sequence[Row]) -> list[Token | None]:
        """Runs one step."""
        return list(self.tokens)


def host(token: bytes, tell: Connection, first: bool) -> None:
    """A host's process."""
    channel = HostChannel("127.0.0.1", token)
    tell.send(channel.address)
    channel.follow(NoModel(), answers_tokens=first)


def plan() -> list[Row]:
    """One step in decode."""
    pages = CONTEXT // PAGE_SIZE + 1
    return [
        Row(
            token_ids=[100 + row],
            start=CONTEXT,
            pages=list(range(row * pages, (row + 1) * pages)),
            sampling=SamplingParams(temperature=0.2, top_p=0.9, seed=row),
        )
        for row in range(ROWS)
    ]


def microseconds(hosts: int) -> list[float]:
    """The time of each step, with that many hosts."""
    token = secrets.token_bytes(TOKEN_BYTES)
    context = multiprocessing.get_context("spawn")
    processes, addresses = [], []
    for rank in range(hosts):
        receive, send = context.Pipe(duplex=False)
        processes.append(context.Process(target=host, args=(token, send, rank == 0)))
        processes[-1].start()
        addresses.append(receive.recv())
    channel = LeaderChannel(addresses, token, timeout_s=10)
    rows, times = plan(), []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter_ns()
        channel.step(rows)
        times.append((time.perf_counter_ns() - start) / 1e3)
    channel.close()
    for process in processes:
        process.join()
    return times[WARM_UP:]


def main() -> None:
    """Prints a Markdown table."""
    rows = []
    for hosts in (1, 2, 4):
        times = microseconds(hosts)
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        rows.append((hosts, f"{p50:.0f}", f"{p95:.0f}"))
    print(markdown(["hosts", "p50 (µs)", "p95 (µs)"], rows))


if __name__ == "__main__":
    main()
