"""How the service scales with its groups, and what the gateway can take at most.

    python -m bench.scaleout

Real Gateway, HAProxy, Ray Serve, leaders and engines; a model's step is simulated by a sleep. One Gateway.
"""

import asyncio
import os

from bench.clients import CLIENTS, load
from bench.cluster import Addresses
from bench.plain_ray import deploy_plain_ray
from bench.simulated_service import deploy, simulated_cluster
from bench.table import markdown

_STEP_S, _ROWS, _TOKENS = 0.05, 8, 8
_SECONDS = 15.0
_CEILING_CLIENTS = 32


async def _scale(addresses: Addresses, groups: int) -> tuple[float, float, float]:
    async with CLIENTS["HTTP"](addresses, _TOKENS) as send:
        measured = await load(send, groups * _ROWS, _SECONDS)
    return measured.requests_per_s, measured.percentile_ms(0.5), measured.percentile_ms(0.95)


async def _ceiling(addresses: Addresses, protocol: str) -> tuple[float, float, float]:
    async with CLIENTS[protocol](addresses, 1) as send:
        measured = await load(send, _CEILING_CLIENTS, _SECONDS)
    return measured.requests_per_s, measured.percentile_ms(0.5), measured.percentile_ms(0.95)


def main() -> None:
    """Prints Markdown tables."""
    print(f"{os.cpu_count()} cores, load generator included.\n")
    rows: list[tuple[int, float, str, str, str]] = []
    with simulated_cluster(_STEP_S) as addresses:
        for groups in (1, 2, 4):
            deploy(groups=groups, rows=_ROWS)
            rate, p50, p95 = asyncio.run(_scale(addresses, groups))
            alone = rows[0][1] if rows else rate
            rows.append((groups, rate, f"{rate / groups / alone:.0%}", f"{p50:.0f}", f"{p95:.0f}"))
    table = [(groups, f"{rate:.1f}", *others) for groups, rate, *others in rows]
    print(markdown(["groups", "requests/s", "of linear", "first token p50, ms", "p95, ms"], table))
    with simulated_cluster(0.0) as addresses:
        deploy(groups=1, rows=64)
        ceilings = [(protocol, *asyncio.run(_ceiling(addresses, protocol))) for protocol in CLIENTS]
        deploy_plain_ray(0.0)
        ceilings.append(("plain Ray Serve, HTTP", *asyncio.run(_ceiling(addresses, "HTTP"))))
    table = [(protocol, f"{rate:.0f}", f"{p50:.1f}", f"{p95:.1f}") for protocol, rate, p50, p95 in ceilings]
    print(f"\nA model that takes no time, {_CEILING_CLIENTS} clients, streamed, one token:\n")
    print(markdown(["protocol", "requests/s", "first token p50, ms", "p95, ms"], table))


if __name__ == "__main__":
    main()
