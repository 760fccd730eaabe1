"""`codegemma convert`: a checkpoint made ready for serving, once."""

import errno
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from serving.checkpoints.partial_directory import in_partial_directory
from serving.cli.errors import say_error
from serving.cli.termination import terminated_like_interrupted


class Dtype(StrEnum):
    """Of the weights that are written."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Quantize(StrEnum):
    """How matrices are written: a scale for each output, or for groups of 32 inputs; as GGUF's Q8_0; as numbers."""

    INT8 = "int8"
    INT8_WEIGHTS = "int8-weights"
    INT8_GROUPS = "int8-groups"
    INT4 = "int4"
    Q8_0 = "q8_0"
    NONE = "none"


_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_GGUF_TYPES = {Dtype.FLOAT32: "F32", Dtype.BFLOAT16: "BF16", Quantize.Q8_0: "Q8_0"}


def convert(
    source: Annotated[str, typer.Argument(help="A checkpoint of any form, or package:NAME.")],
    target: Annotated[Path, typer.Argument(help="A directory to create, or a file named *.gguf.")],
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing if the target is a checkpoint already.")
    ] = False,
    dtype: Annotated[
        Dtype, typer.Option(help="Data type of the weights; with --quantize, of the norms.")
    ] = Dtype.BFLOAT16,
    quantize: Annotated[
        Quantize | None,
        typer.Option(
            help="Quantise matrices once instead of at each start (docs/quantisation.md has the costs). q8_0 is for "
            "GGUF files only; none decodes quantised weights."
        ),
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Number of weight files. Default: files of 2 GB.")
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="ADAPTER",
            help="LoRA adapter of PEFT or NeMo to merge into the weights (docs/adapters.md). Repeatable.",
        ),
    ] = None,
) -> None:
    """Write a checkpoint as Hugging Face files with its tokenizer, or as a GGUF file for llama.cpp.

    Quantised blocks that devices can multiply (GGUF's Q8_0 and Q4_0, Jlama's) stay as they are, others are decoded once
    instead of at each start, and hosts read their parts of the files side by side. Run the same command again to go on
    after an interruption, or once a full disk has room. `sha256sum --check SHA256SUMS` verifies the result.
    """
    from serving.checkpoints.conversion import convert as convert_checkpoint
    from serving.checkpoints.conversion import convert_to_gguf
    from serving.models.checkpoint_path import checkpoint_path
    from sharding.cache_dir import CacheError
    from sharding.checkpoint.errors import CheckpointError

    console = Console(stderr=True)
    is_gguf = target.suffix == ".gguf"
    _check_options(is_gguf, quantize, shards)
    if if_missing and _is_checkpoint(target, source, quantize):
        console.out(f"{target} is a checkpoint already.", highlight=False)
        return
    columns = TextColumn("converting"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    try:
        with terminated_like_interrupted(), Progress(*columns, console=console) as progress:
            task = progress.add_task("converting", total=None)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            path = checkpoint_path(source)
            if is_gguf:
                encoding = _GGUF_TYPES[quantize if quantize is Quantize.Q8_0 else dtype]
                convert_to_gguf(path, target, encoding, on_progress, merge or ())
            else:
                convert_checkpoint(path, target, dtype, quantize, shards, on_progress, merge or ())
    except (CheckpointError, ValueError, CacheError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        say_error(_failed_side(error, source, target))
        raise typer.Exit(1) from None
    console.out(f"Wrote {target}. In a configuration: checkpoint: {target}", highlight=False)


def _check_options(is_gguf: bool, quantize: Quantize | None, shards: int | None) -> None:
    if is_gguf and quantize not in (None, Quantize.Q8_0, Quantize.NONE):
        say_error(f"--quantize {quantize} is not a form of GGUF. Take q8_0, or name a directory as the target.")
    elif is_gguf and shards is not None:
        say_error("--shards is for directories; a GGUF is one file. Leave it out.")
    elif not is_gguf and quantize is Quantize.Q8_0:
        say_error("--quantize q8_0 is a form of GGUF. Take int8, or name a target that ends with .gguf.")
    else:
        return
    raise typer.Exit(2)


def _is_checkpoint(target: Path, source: str, quantize: Quantize | None) -> bool:
    """Whether one is there; ends the command if what is there is none, quantised otherwise or from another source."""
    from serving.checkpoints.written_files import origin_of
    from sharding.checkpoint import CheckpointError, open_checkpoint

    try:
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return False
        found = open_checkpoint(target).config.quantization
    except CheckpointError as error:
        say_error(f"{target} is there already, but no complete checkpoint: {error} Remove it, or name another target.")
        raise typer.Exit(1) from None
    except OSError as error:
        say_error(f"{target} cannot be read: {_cause(error)}. Make it readable, or name another target.")
        raise typer.Exit(1) from None
    as_asked = quantize in (None, Quantize.Q8_0, found or Quantize.NONE)  # each is its value as text
    if not as_asked:
        say_error(f"{target} is there already, {found or 'not quantised'}. Remove it, or name another target.")
        raise typer.Exit(1)
    there, asked = origin_of(target), origin_of(Path(source))
    if there is not None and asked is not None and there != asked:
        say_error(f"{target} is there already, from {there} and not from {asked}. Remove it, or name another target.")
        raise typer.Exit(1)
    return True


def _failed_side(error: OSError, source: str, target: Path) -> str:
    """What could not be read, or not be written: the error names a file when it is opened, and none after that."""
    if error.strerror is None:
        return str(error)  # of ours
    if error.filename:
        file = Path(error.filename).absolute()
        beside = target.absolute().parent
        is_target = in_partial_directory(file) or file == target.absolute() or beside.is_relative_to(file)
    else:
        is_target = error.errno in _OF_WRITING
    if is_target:
        is_file = error.errno == errno.EEXIST or isinstance(error, NotADirectoryError)
        cause = f"{error.filename}: Not a directory" if is_file else _cause(error)
        goes_on = "" if target.suffix == ".gguf" else ": the same command then keeps the files that are complete"
        return f"{target} cannot be written: {cause}. Choose another target, or make room{goes_on}."
    if error.filename:
        return f"{source} cannot be read: {_cause(error)}. Make it readable."
    return f"{source} cannot be read, or {target} cannot be written: {_cause(error)}. Look at the disks of both."


def _cause(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
