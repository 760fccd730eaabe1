"""What one Gateway can take at most, and what a request costs each process; also beside another version of the code.

    python -m bench.ceiling [--against CHECKOUT] [--rounds N]

A model that takes no time, 32 clients, streamed, one token. Two versions are measured in turns, each in a cluster and
with the clients of its own. On a machine that others use too, processor time says more than requests per second.
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
from typing import TYPE_CHECKING

import psutil

from bench.clients import CLIENTS, load
from bench.plain_ray import deploy_plain_ray
from bench.simulated_service import deploy, simulated_cluster
from bench.table import markdown

if TYPE_CHECKING:  # `--against` imports from a checkout that may have no such module
    from tests.service.ray_cluster import Addresses

_CLIENTS, _ROWS = 32, 64
_WARM_UP_S, _SECONDS = 1.0, 8.0
_ROOT = Path(__file__).parents[1]
_PROCESSES = {
    ":Gateway": "Gateway",
    "ServeReplica:": "leader",
    "haproxy": "HAProxy",
    "": "Ray",
}
"""Part of a process's title -> whose processor time it counts as; the first that fits."""

type Measured = dict[str, float]
"""Of a protocol: requests per second, milliseconds until the first token, processor milliseconds of a request."""


def _processor_s() -> Counter[str]:
    """Seconds of processor time so far, of this process, the client, and of all below it."""
    seconds = Counter[str]()
    client = psutil.Process()
    for process in (client, *client.children(recursive=True)):
        try:
            title, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue  # it has just ended
        whose = "client" if process == client else next(name for part, name in _PROCESSES.items() if part in title)
        seconds[whose] += times.user + times.system
    return seconds


async def _ceiling(addresses: "Addresses", protocol: str) -> Measured:
    async with CLIENTS[protocol](addresses, 1) as send:
        await load(send, _CLIENTS, _WARM_UP_S)
        before = _processor_s()
        measured = await load(send, _CLIENTS, _SECONDS)
        spent = _processor_s() - before
    requests = measured.requests_per_s * (_SECONDS + 1)  # `load` counts none in its first second
    return {
        "requests/s": measured.requests_per_s,
        "first token p50, ms": measured.percentile_ms(0.5),
        "first token p95, ms": measured.percentile_ms(0.95),
        **{f"{whose}, ms of processor a request": 1e3 * s / requests for whose, s in sorted(spent.items())},
    }


def _measure(*, plain: bool) -> dict[str, Measured]:
    """Measures this version once, and plain Ray Serve if it is asked for."""
    with simulated_cluster(0.0) as addresses:
        deploy(groups=1, rows=_ROWS)
        measured = {protocol: asyncio.run(_ceiling(addresses, protocol)) for protocol in CLIENTS}
        if plain:
            deploy_plain_ray(0.0)
            measured["plain Ray Serve, HTTP"] = asyncio.run(_ceiling(addresses, "HTTP"))
    return measured


def _measured_in(checkout: Path) -> dict[str, Measured]:
    """What a process measures that imports all but this file from a checkout, which may have its own environment."""
    own = checkout / ".venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}  # it sets its own
    environment["PYTHONPATH"] = os.pathsep.join([str(checkout), str(checkout / "protos")])
    command = [str(own) if own.exists() else sys.executable, "-P", __file__, "--json"]
    said = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True).stdout
    measured: dict[str, Measured] = json.loads(said.splitlines()[-1])
    return measured


def _compare(other: Path, rounds: int) -> None:
    runs = [(_measured_in(other), _measured_in(_ROOT)) for _ in range(rounds)]
    rows = []
    for protocol in CLIENTS:
        for what in runs[0][0][protocol]:
            there, here = ([version[protocol].get(what, 0.0) for version in side] for side in zip(*runs, strict=True))
            ratios = [new / old for old, new in zip(there, here, strict=True) if old]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
            rows.append((protocol, what, _shown(there), _shown(here), ratio))
    print(markdown(["protocol", "", str(other.name), "here", "here / there"], rows))


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" if value >= 100 else f"{value:.2f}" for value in values)


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="of another version of this repository")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="measure once, and print JSON")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(_measure(plain=False)))
    elif options.against:
        _compare(options.against.resolve(), options.rounds)
    else:
        measured = _measure(plain=True)
        rows = [(name, what, _shown([value])) for name, values in measured.items() for what, value in values.items()]
        print(markdown(["through", "", ""], rows))


if __name__ == "__main__":
    main()
