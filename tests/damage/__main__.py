"""Damages checkpoints of every form in all the ways of `kinds/`, and looks how each is taken.

    python -m tests.damage --seed 1 --cases 20000
    python -m tests.damage --seed 1 --cases 400 --only Keras    # of one form

A damaged checkpoint must be refused in one line that names it, within 5 s of a processor and in bounded memory, and
nothing in it may be executed; or what was read must be the same but for numbers whose own bytes were changed.
"""

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console

from tests.damage.forms import FORMS
from tests.damage.search import run

_console = Console(highlight=False, soft_wrap=True)


def main(
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 1,
    cases: Annotated[int, typer.Option(min=1, help="How many, over all forms.")] = 20_000,
    only: Annotated[str, typer.Option(help="One form, by its name.")] = "",
) -> None:
    """Runs the cases; the exit status is 1 if something was not as it must be."""
    forms = [only] if only else list(FORMS)
    faults = 0
    for number, form in enumerate(forms):
        count = cases // len(forms) + (number < cases % len(forms))
        taken: Counter[str] = Counter()
        for outcome in run([(form, seed, 0, count)]):
            taken[_how(outcome.said)] += 1
            if outcome.faults:
                faults += 1
                _console.print(f"{outcome}", markup=False)
        told = ", ".join(f"{taken[how]} {how}" for how in ("refused", "read as before", "read with other numbers"))
        _console.print(f"{form:40} {told}", markup=False)
    _console.print(f"{faults} faults" if faults else "Everything as it must be.")
    sys.exit(1 if faults else 0)


def _how(said: str) -> str:
    if not said.startswith("read"):
        return "refused"
    return "read as before" if said == "read" else "read with other numbers"


if __name__ == "__main__":
    typer.run(main)
