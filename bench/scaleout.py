"""How the service scales with its groups.

    python -m bench.scaleout

Real Gateway, HAProxy, Ray Serve, leaders and engines; a model's step is simulated by a sleep. One Gateway.
"""

import asyncio
import os

from bench.clients import CLIENTS, load
from bench.simulated_service import deploy, simulated_cluster
from bench.table import markdown
from tests.service.ray_cluster import Addresses

_STEP_S, _ROWS, _TOKENS = 0.05, 8, 8
_SECONDS = 15.0


async def _scale(addresses: Addresses, groups: int) -> tuple[float, float, float]:
    async with CLIENTS["HTTP"](addresses, _TOKENS) as send:
        measured = await load(send, groups * _ROWS, _SECONDS)
    return measured.requests_per_s, measured.percentile_ms(0.5), measured.percentile_ms(0.95)


def main() -> None:
    """Prints a Markdown table."""
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


if __name__ == "__main__":
    main()
