"""What the step-plan channel adds to a step of a replica group of several hosts, whose steps take no time here.

    python -m bench.channel

Plans of rows in decode go to 1, 2 and 4 processes and back.
"""

import multiprocessing
import secrets
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from bench.table import markdown
from serving.group.channel import TOKEN_BYTES, HostChannel, LeaderChannel
from sharding.step import Opening, Row, SamplingParams, Token

ROWS, PAGES, PAGE_SIZE = 32, 250, 32
WARM_UP, STEPS = 500, 5000


class NoModel:
    """Answers each row with a token at once."""

    recompilations = 0

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step."""

    def land(self) -> list[list[Token]]:
        """Ends a step."""
        return [[Token(100 + row)] for row in range(ROWS)]


def host(token: bytes, tell: Connection, first: bool) -> None:
    """A host's process."""
    channel = HostChannel("127.0.0.1", token)
    tell.send(channel.address)
    channel.follow(NoModel(), answers_tokens=first)


def opening() -> list[Row]:
    """The last step of the prompts: with all that hosts keep of a sequence."""
    return [
        Row(
            slot=row,
            start=PAGES * PAGE_SIZE - 2,
            token_ids=[100 + row],
            draws=1,
            pages=list(range(row * PAGES, (row + 1) * PAGES)),
            opening=Opening(sampling=SamplingParams(temperature=0.2, top_p=0.9, seed=row), stop_ids=[1, 107]),
        )
        for row in range(ROWS)
    ]


def decoding() -> list[Row]:
    """One step in decode; one row has a new page."""
    return [
        Row(slot=row, start=PAGES * PAGE_SIZE - 1, draws=1, pages=[] if row else [7], first_page=PAGES)
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
    channel.launch(opening())
    channel.land()
    rows, times = decoding(), []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter_ns()
        channel.launch(rows)
        channel.land()
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
