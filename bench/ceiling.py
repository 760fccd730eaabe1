"""What one Gateway can take at most, and what a request costs each process; also beside another version of the code.

    python -m bench.ceiling [--against CHECKOUT] [--rounds N]

A model that takes no time, 32 clients, streamed, one token. Two versions are measured in turns, each in a cluster and
with the clients of its own.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

from bench.clients import CLIENTS, load
from bench.cluster import Addresses
from bench.plain_ray import deploy_plain_ray
from bench.simulated_service import deploy, simulated_cluster
from bench.table import markdown

_CLIENTS, _ROWS, _SECONDS = 32, 64, 8.0
_ROOT = Path(__file__).parents[1]
_KINDS = {":Gateway": "Gateway", "ServeReplica:": "leader", "haproxy": "HAProxy", "ProxyActor": "HAProxy", "": "Ray"}
"""Of processes, by the first part that the title of one has."""

type Measured = dict[str, float]
"""Of a protocol: `requests/s`, milliseconds until the first token, and milliseconds a request of each kind of process."""


def _processor_s() -> Counter[str]:
    """Seconds of processor time so far of this process, the client, and all below it."""
    seconds = Counter[str]()
    client = psutil.Process()
    for process in (client, *client.children(recursive=True)):
        try:
            title, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue  # it has just ended
        kind = "client" if process == client else next(kind for part, kind in _KINDS.items() if part in title)
        seconds[kind] += times.user + times.system
    return seconds


async def _ceiling(addresses: Addresses, protocol: str) -> Measured:
    async with CLIENTS[protocol](addresses, 1) as send:
        await load(send, _CLIENTS, 1)
        before = _processor_s()
        measured = await load(send, _CLIENTS, _SECONDS)
        spent = _processor_s() - before
    seconds = _SECONDS + 1  # in the first of which the load is not counted, but costs as much
    return {
        "requests/s": measured.requests_per_s,
        "first token p50, ms": measured.percentile_ms(0.5),
        "p95, ms": measured.percentile_ms(0.95),
        **{kind: 1e3 * s / seconds / measured.requests_per_s for kind, s in sorted(spent.items())},
    }


def measure(*, plain: bool) -> dict[str, Measured]:
    """Measures this version of the code once, and plain Ray Serve if it is asked for."""
    with simulated_cluster(0.0) as addresses:
        deploy(groups=1, rows=_ROWS)
        measured = {protocol: asyncio.run(_ceiling(addresses, protocol)) for protocol in CLIENTS}
        if plain:
            deploy_plain_ray(0.0)
            measured["plain Ray Serve, HTTP"] = asyncio.run(_ceiling(addresses, "HTTP"))
    return measured


def _measured_in(checkout: Path) -> dict[str, Measured]:
    """What `measure` says in a process of its own that imports all else from a checkout."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "protos")])}
    command = [sys.executable, "-P", __file__, "--json"]
    answer = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _compare(other: Path, rounds: int) -> None:
    runs = [(_measured_in(other), _measured_in(_ROOT)) for _ in range(rounds)]
    rows = []
    for protocol in CLIENTS:
        for what in runs[0][0][protocol]:
            old, new = ([run[protocol].get(what, 0.0) for run in version] for version in zip(*runs, strict=True))
            ratios = [b / a for a, b in zip(old, new, strict=True) if a]
            shown = [", ".join(f"{value:.{0 if value >= 100 else 2}f}" for value in values) for values in (old, new)]
            rows.append((protocol, what, *shown, f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"))
    print(markdown(["protocol", "what", "there", "here", "here / there"], rows))


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="of another version of this repository")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="measure once, and print JSON")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(plain=False)))
    elif options.against:
        _compare(options.against.resolve(), options.rounds)
    else:
        rows = [(name, *(f"{value:.2f}" for value in each.values())) for name, each in measure(plain=True).items()]
        print(markdown(["", "requests/s", "p50", "p95", "..."], rows))


if __name__ == "__main__":
    main()
