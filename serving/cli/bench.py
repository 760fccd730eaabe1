"""`codegemma bench`: how a running service does under load."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from serving.cli.bench_preflight import check_grpc, check_http
from serving.cli.errors import say_error
from serving.cli.options import DEFAULT_URL, ApiKeyOption, UrlOption
from serving.cli.output_file import why_no_directory
from serving.load.ask import Outcome
from serving.load.client import grpc_client, http_client
from serving.load.report import LoadReport
from serving.load.run import Workload, run_load

bench = typer.Typer(name="bench", help="Measure a running service.", no_args_is_help=True)


class Protocol(StrEnum):
    """How the load reaches the service."""

    HTTP = "http"
    GRPC = "grpc"


@bench.callback()
def _bench() -> None:
    """Makes `serve` a subcommand, though it is the only one."""


@bench.command()
def serve(
    load: Annotated[Workload, typer.Option(help="What the developers do.")] = Workload.TYPING,
    users: Annotated[int, typer.Option("--users", "-u", min=1, max=10_000, help="Concurrent developers.")] = 4,
    seconds: Annotated[float, typer.Option("--seconds", "-s", min=5, help="How long to run, in seconds.")] = 60.0,
    protocol: Annotated[Protocol, typer.Option(help="How they reach the service.")] = Protocol.HTTP,
    url: UrlOption = DEFAULT_URL,
    grpc_target: Annotated[str, typer.Option("--grpc", help="HOST:PORT, for --protocol grpc.")] = "127.0.0.1:9000",
    api_key: ApiKeyOption = "",
    typing_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a completion.")] = 32,
    chat_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a chat answer.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed types the same code.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write report.md and report.svg into this directory.", file_okay=False)
    ] = None,
) -> None:
    """Simulate developers who type and chat against a running service, and report how long they wait.

    A typing developer's every keystroke asks for a completion and cancels the one before. The code is that of Python's
    own library.
    """
    if report is not None:
        _check_can_plot()
        _check_can_write(report)
    target = url if protocol is Protocol.HTTP else grpc_target
    check = check_http if protocol is Protocol.HTTP else check_grpc
    check(target, api_key, load)
    title = f"{load}: {users} developers for {seconds:g} s over {protocol} at {target}"
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[seen]}"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task(str(load), total=seconds, seen="")

        def on_second(elapsed_s: float, outcomes: list[Outcome]) -> None:
            failed = sum(outcome.end not in ("complete", "cancelled") for outcome in outcomes)
            progress.update(task, completed=elapsed_s, seen=f"{len(outcomes)} requests, {failed} failed")

        async def run() -> tuple[list[Outcome], float]:
            connecting = http_client(url, api_key) if protocol is Protocol.HTTP else grpc_client(grpc_target, api_key)
            async with connecting as client:
                return await run_load(
                    client,
                    load,
                    users=users,
                    seconds=seconds,
                    typing_tokens=typing_tokens,
                    chat_tokens=chat_tokens,
                    seed=seed,
                    on_second=on_second,
                )

        outcomes, elapsed_s = asyncio.run(run())
    if not outcomes:
        say_error(f"No request ended within {seconds:g} s. Is the service at {target} running? Raise --seconds.")
        raise typer.Exit(1)
    result = LoadReport.of(title, outcomes, elapsed_s)
    Console().print(_table(result))
    if report is not None:
        _write(result, report)
        console.out(f"Written to {report / 'report.md'} and report.svg.", highlight=False)
    if not any(outcome.first_s is not None for outcome in outcomes):
        say_error(f"Nothing was answered: {outcomes[0].end}. Is the service at {target} running, and the key right?")
        raise typer.Exit(1)


def _check_can_plot() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        say_error("--report draws with matplotlib, which is not installed: pip install 'codegemma-serving[plots]'")
        raise typer.Exit(2) from None


def _check_can_write(directory: Path) -> None:
    if reason := why_no_directory(directory):
        say_error(f"{directory} cannot be written: {reason}. Choose another with --report.")
        raise typer.Exit(1)


def _write(result: LoadReport, directory: Path) -> None:
    from serving.load.plot import plot_load

    try:
        directory.mkdir(parents=True, exist_ok=True)
        plot_load(result, directory / "report.svg")
        (directory / "report.md").write_text(result.markdown("report.svg"))
    except OSError as error:
        say_error(f"{directory} cannot be written: {error.strerror}. Choose another with --report.")
        raise typer.Exit(1) from None


def _table(result: LoadReport) -> Table:
    table = Table(title=escape(result.title), title_justify="left", box=None, header_style="bold")
    table.add_column("")
    for each in result.figures:
        table.add_column(each.kind, justify="right")
    for name, cells in result.rows():
        table.add_row(escape(name), *cells)  # a name may hold what the service said
    return table
