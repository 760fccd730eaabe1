"""`codegemma inspect`: what a checkpoint is, and whether it can be served."""

import json
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from serving.checkpoints.adapter_inspection import AdapterInspection, inspect_adapter
from serving.checkpoints.inspection import Fit, Inspection, inspect_checkpoint
from serving.cli.errors import say_error
from serving.cli.inspect_adapter import print_adapter


def inspect(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint or an adapter of any form, or package:NAME.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all weights too: are the numbers finite, and the hashes right?")
    ] = False,
    base: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="For an adapter: the model that it should fit.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Describe a checkpoint: form, tokenizer, quantisation, memory on accelerators, and what is wrong with it.

    Of a LoRA adapter: form, rank, what it adapts, its size and the model that it was made for. Ends with status 1 if
    anything is wrong.
    """
    from serving.models.checkpoint_path import checkpoint_path
    from sharding.adapters.forms import is_adapter

    try:
        path, of = checkpoint_path(checkpoint), checkpoint_path(base) if base is not None else None
        found_adapter = is_adapter(path)
    except (OSError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    if of is not None and not found_adapter:
        say_error(f"--base is for adapters, and {path} is none. Leave it out.")
        raise typer.Exit(2)
    columns = TextColumn("verifying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not verify, transient=True) as progress:
            task = progress.add_task("verifying", total=None)
            on_progress = partial(_advance, progress, task)
            found = (
                inspect_adapter(path, of, verify=verify, on_progress=on_progress)
                if found_adapter
                else inspect_checkpoint(path, verify=verify, on_progress=on_progress)
            )
    except (OSError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    elif isinstance(found, AdapterInspection):
        print_adapter(found)
    else:
        _print(found)
    for problem in () if as_json else found.problems:
        say_error(problem)
    if found.problems:
        raise typer.Exit(1)


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _print(found: Inspection) -> None:
    console = Console(markup=False)
    if found.form is not None:
        console.print(_facts(found))
        console.print()
        console.print(_memory(found.fits))
    if not found.problems:
        looked_at = "headers, tokenizer and every number" if found.verified else "headers and tokenizer"
        console.print(f"\nNothing is wrong with its {looked_at}.", style="green")


def _facts(found: Inspection) -> Table:
    config, tokenizer = found.config, found.tokenizer
    assert config is not None  # there is one wherever there is a form
    numbers = sum(found.stored_as.values())
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    table.add_row("path", found.path)
    table.add_row("form", found.form)
    table.add_row("model", f"{found.family}, {found.parameters / 1e9:.3g} billion parameters")
    table.add_row(
        "shape",
        f"{config.num_layers} layers of {config.embed_dim}, MLP {config.mlp_dim}, {config.num_heads} heads and "
        f"{config.num_kv_heads} for keys and values, of {config.head_dim}",
    )
    table.add_row("context", f"{config.max_context} tokens")
    table.add_row("stored as", ", ".join(f"{kind} {part / numbers:.0%}" for kind, part in found.stored_as.items()))
    table.add_row("quantised", str(config.quantization or "no, in memory"))
    if tokenizer is not None:
        ids = "  ".join(f"{text} {token_id}" for text, token_id in tokenizer.control.items())
        table.add_row("tokenizer", f"{tokenizer.kind}, {tokenizer.vocab_size} tokens")
        table.add_row("control tokens", ids)
        fim = "by its own tokens" if tokenizer.fills_in_the_middle else "from the prefix alone: it has no tokens for it"
        table.add_row("fill-in-the-middle", fim)
    return table


def _memory(fits: tuple[Fit, ...]) -> Table:
    table = Table("chips", "weights on each", "beside them", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    for fit in fits:
        weights = "" if fit.weights is None else f"{fit.weights / 1e9:.2f} GB"
        room = fit.obstacle if fit.kv_tokens is None else f"{fit.kv_tokens:,} tokens of KV cache"
        table.add_row(f"{fit.chips} x {fit.chip}", weights, room)
    return table
