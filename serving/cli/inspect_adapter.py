"""What `codegemma inspect` prints of an adapter."""

from rich.console import Console
from rich.table import Table

from serving.checkpoints.adapter_inspection import AdapterInspection


def print_adapter(found: AdapterInspection) -> None:
    """Prints what an adapter is, and whether nothing is wrong with it."""
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
    if not found.problems:
        looked = "its numbers" if found.verified else "its headers"
        fits = f", and it fits {found.base}" if found.base is not None else ""
        console.print(f"Nothing is wrong with {looked}{fits}.")
