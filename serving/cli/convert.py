"""`codegemma convert`: a checkpoint made ready for serving, once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from serving.cli.errors import say_error


class Dtype(StrEnum):
    """Of the weights that are written."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Quantize(StrEnum):
    """How matrices are written: for each output in 8 bits, or in groups of 32 inputs in 4."""

    INT8 = "int8"
    INT4 = "int4"


def convert(
    source: Annotated[str, typer.Argument(help="A GGUF file, a directory of Hugging Face files, or package:NAME.")],
    target: Annotated[Path, typer.Argument(help="A directory to make.")],
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing if the target is a checkpoint already.")
    ] = False,
    dtype: Annotated[Dtype, typer.Option(help="Of the weights; with --quantize, of the norms.")] = Dtype.BFLOAT16,
    quantize: Annotated[
        Quantize | None,
        typer.Option(help="Quantise matrices, once instead of at each start; docs/quantisation.md has what it costs."),
    ] = None,
) -> None:
    """Write a checkpoint as Hugging Face files of 2 GB at most, with its tokenizer.

    What a GGUF quantises is decoded once instead of at each start, or quantised anew as devices multiply it, and hosts
    read their parts of the files side by side.
    """
    from serving.checkpoint_path import checkpoint_path
    from serving.convert import convert as convert_checkpoint
    from sharding.checkpoint.errors import CheckpointError

    console = Console(stderr=True)
    if if_missing and _is_checkpoint(target, quantize):
        console.out(f"{target} is a checkpoint already.", highlight=False)
        return
    columns = TextColumn("converting"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    try:
        with _terminated_like_interrupted(), Progress(*columns, console=console) as progress:
            task = progress.add_task("converting", total=None)
            convert_checkpoint(
                checkpoint_path(source),
                target,
                dtype,
                quantize,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
    except (CheckpointError, ValueError, FileNotFoundError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        say_error(f"{target} cannot be written: {_cause(error)}. Choose another target, or make room.")
        raise typer.Exit(1) from None
    console.out(f"Wrote {target}. In a configuration: checkpoint: {target}", highlight=False)


def _is_checkpoint(target: Path, quantize: str | None) -> bool:
    """Whether one is there; ends the command if what is there is none, or is quantised otherwise."""
    from sharding.checkpoint import CheckpointError, open_checkpoint

    try:
        if not target.is_dir() or not any(target.iterdir()):
            return False
        found = open_checkpoint(target).config.quantization
    except CheckpointError as error:
        say_error(f"{target} is there already, but no complete checkpoint: {error} Remove it, or name another target.")
        raise typer.Exit(1) from None
    except OSError as error:
        say_error(f"{target} cannot be read: {_cause(error)}. Make it readable, or name another target.")
        raise typer.Exit(1) from None
    if quantize is not None and found != quantize:
        say_error(f"{target} is there already, {found or 'not quantised'}. Remove it, or name another target.")
        raise typer.Exit(1)
    return True


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, with which Kubernetes ends a pod, raises KeyboardInterrupt: what is half written is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cause(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
