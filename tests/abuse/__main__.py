"""Sends hostile inputs to a running service and checks how it takes them.

    python -m tests.abuse --seed 1 --inputs 25000
    python -m tests.abuse --seed 1 --only http2 --index 17     # one of them again

The service is started here, with a tiny model, and listens on loopback. Of each answer it checks that it is an error of
the service's own kind, tells nothing of the inside, and is no server error; of the service, that its loop never stood
still for more than 50 ms, its memory stayed bounded, nothing is left over, and that it answers as before.
"""

import asyncio
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from ray import serve
from rich.console import Console
from rich.progress import Progress

from serving.app import build
from serving.config import ServingConfig
from tests.abuse.state import silent_doors
from tests.abuse.suite import KINDS, Report, attack_of, counted, run, told
from tests.abuse.target import Target
from tests.abuse.worst import show_costs
from tests.service.ray_cluster import Addresses, cluster
from tests.service.tiny_codegemma import write_tiny_codegemma

_ROW = "{:10} {:>7} {:>7} {:>8} {:>13} {:>20}"
_console = Console()


def main(
    seed: Annotated[int, typer.Option(help="Of all inputs.")] = 1,
    inputs: Annotated[int, typer.Option(min=10, help="How many.")] = 25_000,
    only: Annotated[str | None, typer.Option(help=f"One kind: {', '.join(KINDS)}.")] = None,
    index: Annotated[int | None, typer.Option(min=0, help="With --only: this input alone.")] = None,
    worst: Annotated[bool, typer.Option("--worst", help="Only those that once cost the most, one by one.")] = False,
) -> None:
    """Runs the inputs; the exit status is 1 if something was not as it must be."""
    if only is not None and only not in KINDS:
        raise typer.BadParameter(f"--only is {only!r}. Name one of {', '.join(KINDS)}.")
    with tempfile.TemporaryDirectory() as directory, cluster() as addresses:
        _console.print("Starting a service of a tiny model...")
        target = _start(Path(directory), addresses)
        asyncio.run(silent_doors(target))
        if worst:
            sys.exit(0 if asyncio.run(show_costs(lambda: nullcontext(target))) else 1)
        if only is not None and index is not None:
            sys.exit(asyncio.run(_one(target, seed, only, index)))
        counts = counted(inputs)
        reports = asyncio.run(_all(target, seed, {only: counts[only]} if only else counts))
    faults = [fault for report in reports for fault in report.faults]
    for line in told(faults, seed):
        _console.print(line, markup=False, highlight=False, soft_wrap=True)
    _console.print(f"{len(faults)} faults." if faults else "Everything as it must be.")
    sys.exit(1 if faults else 0)


def _start(directory: Path, addresses: Addresses) -> Target:
    limits = {"max_rows": 8, "max_step_tokens": 64, "max_context": 4096, "page_size": 32, "kv_tokens": 32768}
    checkpoint = str(write_tiny_codegemma(directory))
    models = [{"id": "codegemma", "checkpoint": checkpoint, "roles": ["fim", "chat"], "dtype": "float32"}]
    config = ServingConfig.model_validate({"models": [model | {"limits": limits} for model in models]})
    serve.run(build(config.model_dump(mode="json")), name="abuse")
    return Target.find(addresses, config.gateway.max_body_bytes)


async def _one(target: Target, seed: int, kind: str, index: int) -> int:
    attack = attack_of(kind, seed, index, target.max_body_bytes)
    _console.print(f"{attack.about}\n{attack!r:.2000}", markup=False)
    faults = [*await attack.faults(target), *await silent_doors(target)]
    _console.print("\n".join(faults) or "As it must be.", markup=False)
    return 1 if faults else 0


async def _all(target: Target, seed: int, counts: dict[str, int]) -> list[Report]:
    reports = []
    _console.print(_ROW.format("kind", "inputs", "faults", "seconds", "with a stall", "memory grew by, MiB"))
    with Progress(console=_console, transient=True) as progress:
        bars = {kind: progress.add_task(kind, total=count) for kind, count in counts.items()}
        async for report in run(target, seed, counts, lambda kind: progress.advance(bars[kind])):
            reports.append(report)
            figures = (report.inputs, len(report.faults), round(report.seconds), report.stalls, report.grown >> 20)
            _console.print(_ROW.format(report.kind, *figures), highlight=False)
    return reports


if __name__ == "__main__":
    typer.run(main)
