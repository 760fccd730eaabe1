"""`codegemma eval run`: asks a model every task of some sets, and scores it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from serving.cli.errors import say_error, say_note
from serving.cli.options import DEFAULT_URL, ApiKeyOption, ModelOption, UrlOption
from serving.cli.output_file import why_no_directory
from serving.cli.termination import terminated_like_interrupted

if TYPE_CHECKING:
    from rich.progress import Progress

    from serving.evaluation.report import Report
    from serving.evaluation.run_directory import Result

ALL = "all"


def run(
    sets: Annotated[list[str], typer.Argument(help=f"Sets of `codegemma eval tasks`, or {ALL}.", show_default=False)],
    data: Annotated[Path, typer.Option(help="A folder with the benchmarks' files.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="The run's directory. An existing run continues.", file_okay=False)],
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: ModelOption = "",
    config: Annotated[
        Path | None, typer.Option(help="Start and stop `codegemma serve` with this file instead of asking --url.")
    ] = None,
    post_processing: Annotated[
        bool, typer.Option(help="End filled-in code with its block, as for editors; without it, where the model ends.")
    ] = True,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Number of tasks of each set, spread evenly. Default: all.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=1024, help="Concurrent requests.")] = 8,
    known_bad: Annotated[
        Path | None,
        typer.Option(
            help="File with the names of tasks whose tests may be wrong, one a line.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Ask a model every task of some sets, run its answers in a sandbox, and score them.

    Greedy, one answer a task. What is done is kept: the same command goes on after an interruption. First the tasks
    themselves are checked: their own solutions must pass, and empty answers must not.
    """
    import asyncio

    from serving.evaluation.run import LoadedSets, Run, SelfCheckError
    from serving.evaluation.run_directory import RunDirectory
    from serving.evaluation.run_error import RunError
    from serving.evaluation.sandbox import Sandbox, SandboxError
    from serving.evaluation.service import Service, ServiceError
    from serving.evaluation.task_sets.catalogue import TASK_SETS

    names = list(TASK_SETS) if ALL in sets else list(dict.fromkeys(sets))
    if strange := [name for name in names if name not in TASK_SETS]:
        raise typer.BadParameter(
            f"{', '.join(strange)}: no such set; `codegemma eval tasks` lists them.", param_hint="SETS"
        )
    if reason := why_no_directory(out):
        say_error(f"{out} cannot be written: {reason}. Choose another with --out.")
        raise typer.Exit(1)
    loaded = LoadedSets.read([TASK_SETS[name] for name in names], data, tasks)
    for name, why in loaded.missing.items():
        say_note(f"{name} is left out: {why}")
    if not loaded.loaded:
        say_error("None of the sets can be evaluated here.")
        raise typer.Exit(1)
    out.mkdir(parents=True, exist_ok=True)
    with terminated_like_interrupted(), _progress() as watcher:
        evaluation = Run(
            sets=loaded,
            directory=RunDirectory(out),
            sandbox=Sandbox(),
            post_processing=post_processing,
            known_bad=_names(known_bad),
            watcher=watcher,
        )

        async def ask(at: str) -> "Report":
            async with Service(at, api_key) as service:
                return await evaluation.ask(service, await service.model(model), parallel)

        try:
            asyncio.run(evaluation.check())
            with _service(config, url) as at:
                report = asyncio.run(ask(at))
        except (SandboxError, SelfCheckError, RunError, ServiceError) as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say_note(f"Interrupted. The same command continues the run in {out}.")
            raise typer.Exit(130) from None
    console = Console(soft_wrap=True)
    for each in report.scores:
        console.print(
            f"{each.title}: {each.solved} of {each.done} solved, {each.share:.1%} ({each.low:.1%} to {each.high:.1%})",
            highlight=False,
        )
        if each.refused:
            name, why = next(iter(each.refused.items()))
            say_note(f"{each.title}: {len(each.refused)} were not answered, and count as not solved; {name}: {why}")
    console.print(f"Written to {out / 'report.md'} and report.json.", highlight=False)


@contextmanager
def _service(config: Path | None, url: str) -> Iterator[str]:
    """The address of the service to ask, which is started first if there is a configuration for one."""
    if config is None:
        yield url
        return
    from serving.cli.serve_file import ServeFileError, read_serve_file
    from serving.evaluation.served import served

    try:
        address = read_serve_file(config).http_address
    except ServeFileError as error:
        say_error(str(error))
        raise typer.Exit(2) from None
    with served(config, address, say_note) as at:
        yield at


class _Watcher:
    """A bar for each phase, with the rate and, where there are results, the share that is solved."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars

    def phase(self, name: str, total: int, done: "Sequence[Result]" = ()) -> "Callable[[Result | None], None]":
        """As `Watcher.phase`."""
        bar = self._bars.add_task(name, total=total, completed=len(done), seen="")
        seen, solved, tokens = len(done), sum(each.passed for each in done), 0

        def step(result: "Result | None") -> None:
            nonlocal seen, solved, tokens
            if result is not None:
                seen, solved, tokens = seen + 1, solved + result.passed, tokens + result.completion_tokens
                elapsed = self._bars.tasks[bar].elapsed or 0
                rate = f", {tokens / elapsed:.0f} tokens/s" if elapsed else ""
                self._bars.update(bar, seen=f"{solved / seen:.1%} solved{rate}")
            self._bars.advance(bar)

        return step


@contextmanager
def _progress() -> Iterator[_Watcher]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[seen]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Watcher(bars)


def _names(file: Path | None) -> frozenset[str]:
    """The first word of each line; what comes behind `#` is a remark."""
    lines = file.read_text().splitlines() if file else []
    return frozenset(name for line in lines if (name := line.partition("#")[0].strip()))
