"""Sends what the service's own descriptions allow, and what they do not, and checks how it takes it.

    python -m tests.fuzz --seed 1 --cases 20000
    python -m tests.fuzz --seed 1 --cases 400 --only "POST /infill"    # of one operation or method

HTTP requests are made from the OpenAPI document by schemathesis, gRPC messages from their descriptors. The service is
started here, with a tiny model. No answer may be a server error, or another than is described, or tell of the inside,
or take long; nothing may be left over.
"""

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console

from tests.fuzz.report import Report
from tests.fuzz.served import Served, served
from tests.fuzz.suite import leftovers, parts, run_parts

_WARM_UP = 400
"""Cases before it is seen how much memory the service takes: of all kinds, so that what is used is there."""
_console = Console(highlight=False, soft_wrap=True)


def main(
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 1,
    cases: Annotated[int, typer.Option(min=100, help="How many.")] = 20_000,
    only: Annotated[str, typer.Option(help="One operation (POST /infill) or method (/codegemma.v1.../Chat).")] = "",
) -> None:
    """Runs the cases; the exit status is 1 if something was not as it must be."""
    _console.print("Starting a service of a tiny model...")
    with served() as service:
        faults = _run(service, seed, cases, only)
    _console.print("\n".join(faults) or "Everything as it must be.", markup=False)
    sys.exit(1 if faults else 0)


def _run(service: Served, seed: int, cases: int, only: str) -> list[str]:
    for _ in run_parts(parts(service, _WARM_UP), seed):
        pass
    before = service.held()
    reports: list[Report] = []
    for report in run_parts(parts(service, cases, only), seed + 1):
        reports.append(report)
        answers = ", ".join(f"{count} x {status}" for status, count in report.answers.most_common())
        _console.print(f"{report.cases:6} {report.kind:55} {answers}", markup=False)
    total = sum((report.answers for report in reports), Counter[str]())
    _console.print(f"{sum(report.cases for report in reports)} cases: {dict(total.most_common())}", markup=False)
    after = service.held()
    _console.print(f"before: {before}\nafter:  {after}", markup=False)
    return [*(line for report in reports for line in report.told()), *leftovers(service, before)]


if __name__ == "__main__":
    typer.run(main)
