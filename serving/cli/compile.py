"""`codegemma compile`: the steps of a configuration's models, compiled before there is an accelerator."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from serving.cli.errors import say_error
from serving.cli.serve_file import ServeFileError, read_serve_file
from serving.config import ModelConfig


class Accelerator(StrEnum):
    """The accelerator to compile for."""

    TPU_V5E = "tpu-v5e"
    CPU = "cpu"


_IN_CONFIG = {Accelerator.TPU_V5E: "tpu-v5litepod", Accelerator.CPU: "cpu"}


def compile(
    config: Annotated[Path, typer.Argument(help="A Ray Serve config file.")],
    accelerator: Annotated[
        Accelerator,
        typer.Option("--for", help="Compile the models on this accelerator. cpu is for CPUs like this machine's only."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for the files. Default: where the configuration's models read them."),
    ] = None,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Keep existing files that groups would accept.")
    ] = False,
) -> None:
    """Compile a configuration's steps on a machine without accelerators, so that groups start without compiling.

    Needed are this version of codegemma-serving as the groups have it, and of each checkpoint the config.json or the
    GGUF file. One file for each model serves all hosts of all its groups. What a group cannot read it compiles itself,
    and its log says why.
    """
    from serving.group.ahead_of_time import compile_ahead
    from sharding.cache_dir import CacheError
    from sharding.checkpoint import CheckpointError
    from sharding.executables import signing_key_path
    from sharding.private_files import UntrustedFileError

    models = _models(config, accelerator)
    files = _files(models, out)
    console = Console(stderr=True)
    written = {model.id: files[model.id] for model in models}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    tasks: dict[str, TaskID] = {}
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

            def show(model: ModelConfig, done: int, total: int | None) -> None:
                description = f"{model.id} for {model.topology}"
                if not console.is_terminal:  # such as the log of a build
                    console.out(f"{description}: {done} of {total or 'all'} programs", highlight=False)
                if model.id not in tasks:
                    tasks[model.id] = progress.add_task(description, total=None)
                progress.update(tasks[model.id], completed=done, total=total)

            def found(model: ModelConfig, why: str | None) -> None:
                if why is None:
                    del written[model.id]
                    console.out(f"{files[model.id]} is there already.", highlight=False)
                else:
                    console.out(f"{why} It is compiled anew.", highlight=False)

            compile_ahead(models, files, show, found if if_missing else None)
    except (CacheError, CheckpointError, FileNotFoundError, UntrustedFileError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        where = error.filename or ", ".join(map(str, files.values()))  # named when it is opened, not when it is written
        say_error(f"{where}: {error.strerror}. Choose another directory with --out, or make room.")
        raise typer.Exit(1) from None
    if not written:
        return
    console.out(
        "\n".join(
            [
                *(f"Wrote {path} ({path.stat().st_size / 1e6:.0f} MB)." for path in written.values()),
                "",
                "Put the files where every host of the groups can read them, and set in the configuration:",
                *(f"  models.{model_id}.executables: {path}" for model_id, path in written.items()),
                f"They are signed. Copy the key {signing_key_path()} to the same place in the home of each host's",
                "user; anyone who has the key can make the groups run any code: docs/executables.md.",
            ]
        ),
        highlight=False,
    )


def _files(models: list[ModelConfig], out: Path | None) -> dict[str, Path]:
    """The file of each model, by its id; ends the command if none is named."""
    if out is not None:
        return {model.id: out / f"{model.id}.executables" for model in models}
    files = {model.id: model.executables for model in models if model.executables is not None}
    if missing := [model.id for model in models if model.id not in files]:
        say_error(
            f"models.{', models.'.join(missing)}: no `executables` to write. Set it, or name a directory with --out."
        )
        raise typer.Exit(1)
    return files


def _models(path: Path, accelerator: Accelerator) -> list[ModelConfig]:
    """Those of a configuration that run on an accelerator; ends the command if there are none."""
    try:
        models = read_serve_file(path).config.models
    except ServeFileError as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    chosen = [model for model in models if model.topology.accelerator == _IN_CONFIG[accelerator]]
    if not chosen:
        others = ", ".join(f"{model.id} on {model.topology.accelerator}" for model in models)
        say_error(f"{path} has no model on {accelerator}: {others}. Name another accelerator with --for.")
        raise typer.Exit(1)
    return chosen
