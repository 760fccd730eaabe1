"""`codegemma download`: a checkpoint from the Hugging Face Hub, verified by its hashes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from serving.cli.errors import say_error
from serving.cli.log_progress import log_progress
from serving.cli.termination import terminated_like_interrupted


def download(
    repository: Annotated[str, typer.Argument(help="Repository of the Hugging Face Hub, such as google/codegemma-2b.")],
    target: Annotated[Path, typer.Argument(help="A directory to create.")],
    revision: Annotated[str, typer.Option(help="The commit: 40 hexadecimal digits. A branch or a tag can move.")],
    files: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="PATTERN", help="Only files that match, such as '*.safetensors'. Repeatable."),
    ] = None,
    if_missing: Annotated[
        bool,
        typer.Option("--if-missing", help="Do nothing if the target has this commit, or these files of it, already."),
    ] = False,
) -> None:
    """Download one commit of a repository, and verify every file by the Hub's hash.

    HF_TOKEN opens gated and private repositories; HF_ENDPOINT names a mirror of the hub. Run the same command again to
    go on after an interruption, or once a full disk has room. `sha256sum --check SHA256SUMS` verifies the result.
    """
    from serving.checkpoints.download import DownloadError, Origin, described
    from serving.checkpoints.download import download as download_commit
    from serving.checkpoints.written_files import origin_of

    console = Console(stderr=True)
    columns = TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    try:
        origin = Origin(repository, revision)
        if if_missing and (there := origin_of(target)) is not None:
            wanted = described(origin, files or ())
            if there in (wanted, described(origin)):
                console.out(f"{target} is {there} already.", highlight=False)
                return
            say_error(f"{target} is {there}, and not {wanted}. Name another target; groups may be reading this one.")
            raise typer.Exit(1)
        with (
            terminated_like_interrupted(),
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("downloading", total=None)
            log = log_progress(console, f"downloading {origin}")

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)
                log(done, total)

            download_commit(origin, target, files or (), on_progress)
    except (DownloadError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        cause = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        say_error(f"{target} cannot be written: {cause}. Choose another target, or make room and try again.")
        raise typer.Exit(1) from None
    console.out(f"Wrote {target}. In a configuration: checkpoint: {target}", highlight=False)
