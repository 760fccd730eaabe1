"""`codegemma simulate-autoscaling`: a day of office traffic against autoscaling settings, without a cluster."""

import time
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.pace import Pace
from serving.autoscaling.simulation import Day, GroupModel, simulate
from serving.autoscaling.traffic import OfficeDay
from serving.cli.errors import say_error
from serving.cli.output_file import why_unwritable
from serving.cli.serve_file import ServeFileError, read_serve_file
from serving.config import ModelConfig
from serving.quantile import quantile

_DEFAULT_MAX_REPLICAS = 4
_DEFAULT_ROWS = 8
_EVEN = Pace(step_s=0.001, row_s=0.0, prompt_token_s=0.0, step_tokens=1)
"""Rows do not slow each other down: requests take the time that is given. `cluster sizing --simulate` knows better."""
_SILENT_S = 2.0
_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 48


def simulate_autoscaling(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Use rows and autoscaling of a model in this Ray Serve config file."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Which model of the file; needed if it has several.")
    ] = "",
    minimum: Annotated[int | None, typer.Option("--min", min=0, help="Fewest replica groups. \\[default: 1]")] = None,
    maximum: Annotated[
        int | None, typer.Option("--max", min=1, help=f"Most replica groups. \\[default: {_DEFAULT_MAX_REPLICAS}]")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Requests that may wait for each group. \\[default: 4]", show_default=False)
    ] = None,
    upscale_delay: Annotated[float | None, typer.Option(min=0, help="Seconds. \\[default: 5]")] = None,
    downscale_delay: Annotated[float | None, typer.Option(min=0, help="Seconds. \\[default: 300]")] = None,
    users: Annotated[int, typer.Option(min=1, help="Developers in the office.")] = 200,
    requests_per_hour: Annotated[
        float, typer.Option(min=0.1, help="Requests an hour of one active developer.")
    ] = 120.0,
    seconds_per_request: Annotated[
        float, typer.Option(min=0.001, help="Seconds that a request holds a row, on average.")
    ] = 1.5,
    rows: Annotated[
        int | None, typer.Option(min=1, help=f"Requests that a group runs at once. \\[default: {_DEFAULT_ROWS}]")
    ] = None,
    start_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds from a decision to a group that answers.")
    ] = 90.0,
    first_token_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds from getting a row to the first token.")
    ] = 0.1,
    goal: Annotated[float, typer.Option(min=0.001, help="The promised seconds to the first token.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Another seed simulates another day.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the day into this .svg or .png file.")] = None,
) -> None:
    """Simulate autoscaling settings with a day of office traffic, without a cluster.

    The policy is the one that runs in Ray Serve; traffic and replica groups are simulated.
    """
    started = time.monotonic()
    _check_plot(plot)
    settings = {
        "min_replicas": minimum,
        "max_replicas": maximum,
        "target_queued_per_replica": target,
        "upscale_delay_s": upscale_delay,
        "downscale_delay_s": downscale_delay,
    }
    configured = _configured(config, model)
    autoscaling = _autoscaling(configured, {name: value for name, value in settings.items() if value is not None})
    rows = rows or (configured.limits.max_rows if configured else _DEFAULT_ROWS)
    group = GroupModel(
        rows=rows, max_ongoing=rows, start_s=start_seconds, pace=_EVEN, first_token_s=first_token_seconds
    )
    tokens = seconds_per_request / _EVEN.step_s
    traffic = OfficeDay(users=users, requests_per_hour=requests_per_hour, generated=tokens, seed=seed)
    day = _simulate(traffic, autoscaling, group, started)
    console = Console()
    console.print(_summary(day, goal))
    console.print(_chart(day), highlight=False)
    if plot is not None:
        _draw(day, plot, autoscaling, traffic, group, goal)
        console.print(f"drawn: {plot}", highlight=False, soft_wrap=True)


def _configured(config: Path | None, model: str) -> ModelConfig | None:
    if config is None:
        if model:
            raise typer.BadParameter("says which model of a file: give --config too", param_hint="--model")
        return None
    try:
        models = {one.id: one for one in read_serve_file(config).config.models}
    except ServeFileError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from None
    if model in models:
        return models[model]
    if len(models) == 1 and not model:
        return next(iter(models.values()))
    what = f"{model!r} is not one of the models of {config}" if model else f"{config} has several models; name one"
    raise typer.BadParameter(f"{what}: {', '.join(models)}", param_hint="--model")


def _autoscaling(configured: ModelConfig | None, given: dict[str, float]) -> AutoscalingConfig:
    settings: dict[str, float] = {"max_replicas": _DEFAULT_MAX_REPLICAS}
    if configured and configured.autoscaling:
        settings = configured.autoscaling.model_dump()
    elif configured:
        settings = {"min_replicas": configured.replicas, "max_replicas": configured.replicas}
    try:
        return AutoscalingConfig.model_validate(settings | given)
    except ValidationError as error:
        problems = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise typer.BadParameter(problems, param_hint="--min, --max, --target") from None


def _simulate(traffic: OfficeDay, autoscaling: AutoscalingConfig, group: GroupModel, started: float) -> Day:
    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("one day", total=1.0, visible=False)

        def on_progress(part: float) -> None:
            bar.update(task, completed=part, visible=time.monotonic() - started > _SILENT_S)

        return simulate(traffic.requests(), autoscaling, group, on_progress=on_progress)


def _summary(day: Day, goal_s: float) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan")
    first_token = [quantile(day.first_token_s, q) for q in (0.5, 0.95, 0.99)]
    requests = f"{day.requests:,}"
    if day.waiting:
        requests += f", [red]{day.waiting:,} of them still waiting at midnight[/]"
    table.add_row("requests", requests)
    table.add_row(
        "first token", " · ".join(f"p{p} {_seconds(s)}" for p, s in zip((50, 95, 99), first_token, strict=True))
    )
    table.add_row(f"within {goal_s:g} s", f"{day.part_within(goal_s):.2%}")
    table.add_row("replica groups", f"{day.replica_hours / 24:.1f} on average, {day.most_replicas} at most")
    always = f"{day.most_replicas * 24:.1f} with {day.most_replicas} all day"
    table.add_row("replica hours", f"{day.replica_hours:.1f} ({always})")
    table.add_row("changes", str(day.changes))
    return table


def _chart(day: Day) -> str:
    """Three lines of half-hour columns, each as high as the half hour's highest value."""
    series = {
        "replicas": ([interval.replicas for interval in day.intervals], ""),
        "queued": ([float(interval.queued) for interval in day.intervals], ""),
        "p95": ([interval.p95_s or 0.0 for interval in day.intervals], " s"),
    }
    lines = [f"{name:>8} {_bars(values)} {max(values):.3g}{unit} at most" for name, (values, unit) in series.items()]
    hours = "".join(f"{hour:<8}" for hour in range(0, 24, 4))
    return "\n".join([*lines, f"{'hour':>8} {hours}"])


def _bars(values: list[float]) -> str:
    width = len(values) // _COLUMNS
    columns = [max(values[i : i + width]) for i in range(0, len(values), width)]
    unit = max(columns) / (len(_BLOCKS) - 1) or 1.0
    return "".join(_BLOCKS[ceil(value / unit - 1e-9)] for value in columns)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _check_plot(plot: Path | None) -> None:
    if plot is None:
        return
    if plot.suffix not in (".svg", ".png"):
        raise typer.BadParameter(f"'{plot}' must end with .svg or .png", param_hint="--plot")
    if reason := why_unwritable(plot):
        raise typer.BadParameter(f"cannot write '{plot}': {reason}", param_hint="--plot")
    if find_spec("matplotlib") is None:
        say_error("--plot draws with matplotlib, which is not installed: pip install 'codegemma-serving[plots]'")
        raise typer.Exit(2)


def _draw(
    day: Day, path: Path, autoscaling: AutoscalingConfig, traffic: OfficeDay, group: GroupModel, goal_s: float
) -> None:
    from serving.autoscaling.plot import plot_day  # matplotlib: only where something is drawn

    title = (
        f"{traffic.users} developers, {group.rows} rows a group, {autoscaling.min_replicas} to "
        f"{autoscaling.max_replicas} groups, target {autoscaling.target_queued_per_replica:g} queued a group, "
        f"{group.start_s:g} s to start one"
    )
    try:
        plot_day(day, path, title=title, goal_s=goal_s)
    except OSError as error:
        raise typer.BadParameter(f"cannot write '{path}': {error.strerror}", param_hint="--plot") from None
