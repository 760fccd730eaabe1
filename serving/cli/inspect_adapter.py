"""What `codegemma inspect` prints of an adapter."""

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from serving.adapter_inspection import AdapterInspection, inspect_adapter
from serving.cli.errors import say_error


def print_adapter(path: Path, base: Path | None, verify: bool, as_json: bool) -> None:
    """Prints what an adapter is; ends the command with status 1 if anything is wrong."""
    found = inspect_adapter(path, base, verify=verify)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(1)


def _print(found: AdapterInspection) -> None:
    console = Console(markup=False)
    if found.form is not None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan")
        table.add_column(overflow="fold")
        table.add_row("path", found.path)
        table.add_row("form", f"LoRA adapter of {found.form}")
        table.add_row("rank", str(found.rank))
        table.add_row("adapts", ", ".join(found.projections))
        table.add_row("made for", found.made_for or "it does not say")
        stored = ", ".join(f"{kind} {part / found.numbers:.0%}" for kind, part in found.stored_as.items())
        table.add_row("size", f"{found.numbers / 1e6:.3g} million numbers, {found.file_bytes / 1e6:.3g} MB; {stored}")
        console.print(table)
    for problem in found.problems:
        say_error(problem)
    if not found.problems:
        looked = "its numbers" if found.verified else "its headers"
        fits = f", and it fits {found.base}" if found.base is not None else ""
        console.print(f"Nothing is wrong with {looked}{fits}.")
