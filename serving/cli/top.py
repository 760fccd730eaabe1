"""`codegemma top`: a running service, live."""

import io
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serving.cli.errors import say_error
from serving.cli.output_file import why_unwritable
from serving.config import Role
from serving.telemetry import metrics
from serving.telemetry.scrape import Scrape, Window

_REFRESH_S = 2.0
_WINDOW_S = 30.0
"""Over which rates and latencies are taken."""
_TIMEOUT_S = 5.0
_BAR = 8
_FAILED = ("internal", "unavailable", "overloaded", "deadline_exceeded")
DEFAULT_METRICS_URL = "http://127.0.0.1:9464/metrics"


def top(
    metrics_url: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics-url",
            envvar="CODEGEMMA_METRICS_URL",
            help="Metrics of a Ray node. Repeatable, once for each node.",
            show_default=DEFAULT_METRICS_URL,
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the view after one window as an SVG, and exit.")] = None,
) -> None:
    """Show what a running service does: queues, latencies, tokens and memory. Ctrl-C exits.

    Ray passes measurements on every ten seconds.
    """
    if picture is not None:
        _check_place(picture)
    urls = metrics_url or [DEFAULT_METRICS_URL]
    scrapes: deque[Scrape] = deque([_scrape(urls)])
    try:
        with Live(_frame(Window(scrapes[0], scrapes[0])), auto_refresh=False) as live:
            while picture is None or scrapes[-1].at - scrapes[0].at < _WINDOW_S:
                time.sleep(_REFRESH_S)
                scrapes.append(_scrape(urls))
                while scrapes[-1].at - scrapes[1].at >= _WINDOW_S:
                    scrapes.popleft()
                live.update(_frame(Window(scrapes[0], scrapes[-1])), refresh=True)
    except KeyboardInterrupt:
        return
    if picture is not None:
        _draw(_frame(Window(scrapes[0], scrapes[-1])), picture)


def _draw(frame: RenderableType, picture: Path) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(frame)
    try:
        picture.write_text(console.export_svg(title="codegemma top"))
    except OSError as error:
        _say_unwritable(picture, str(error.strerror))
        raise typer.Exit(1) from None


def _check_place(picture: Path) -> None:
    """Ends the command before it has measured for a picture that it cannot write."""
    if reason := why_unwritable(picture):
        _say_unwritable(picture, reason)
        raise typer.Exit(1)


def _say_unwritable(picture: Path, reason: str) -> None:
    say_error(f"--picture {picture} cannot be written: {reason}. Choose another path.")


def _scrape(urls: list[str]) -> Scrape:
    """Reads every node; ends the command with one line when one does not answer."""
    texts = []
    for url in urls:
        try:
            texts.append(httpx.get(url, timeout=_TIMEOUT_S).raise_for_status().text)
        except httpx.HTTPError as error:
            say_error(f"No metrics from {url}: {error}. Is the service running? --metrics-url names another node.")
            raise typer.Exit(1) from None
        except (httpx.InvalidURL, UnicodeError) as error:  # UnicodeError: a host that is no domain name
            say_error(f"--metrics-url {url} is not an address: {error}. Give one like {DEFAULT_METRICS_URL}.")
            raise typer.Exit(1) from None
    try:
        return Scrape.parse(texts, time.monotonic())
    except ValueError:
        say_error(f"{', '.join(urls)} answered without metrics. Is --metrics-url right?")
        raise typer.Exit(1) from None


def _frame(window: Window) -> RenderableType:
    models = sorted(window.now.names(metrics.KV_TOKENS, "model") | window.now.names(metrics.READY_GROUPS, "model"))
    if not models:
        return Text("No model of codegemma-serving is there yet; a start takes up to a minute.", style="yellow")
    seconds = window.now.at - window.before.at
    caption = Text(
        f"Rates and latencies of the last {seconds:.0f} s: until the first text, and for each later token. fim and "
        "chat wait in a group, held in a Gateway for a group with room; KV memory is of the fullest group.",
        style="dim",
    )
    return Group(_requests(window, models), Text(), _groups(window, models), Text(), caption)


def _requests(window: Window, models: list[str]) -> Table:
    table = Table(box=None, header_style="bold", title="Requests", title_justify="left", title_style="bold cyan")
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("role")
    for column in ("req/s", "failed", "cancelled", "first p50", "p95", "token p50", "p95"):
        table.add_column(column, justify="right", no_wrap=True)
    for model in models:
        for role in Role:
            labels = {"model": model, "role": str(role)}
            if not window.now.values(metrics.REQUESTS.exported[0], **labels):
                continue
            failed = sum(window.rate(metrics.REQUESTS, **labels, reason=reason) for reason in _FAILED)
            table.add_row(
                model,
                str(role),
                f"{window.rate(metrics.REQUESTS, **labels):.1f}",
                Text(f"{failed:.1f}", style="red" if failed else ""),
                f"{window.rate(metrics.REQUESTS, **labels, reason='cancelled'):.1f}",
                _milliseconds(window.quantile(metrics.TIME_TO_FIRST_TOKEN, 0.5, **labels)),
                _milliseconds(window.quantile(metrics.TIME_TO_FIRST_TOKEN, 0.95, **labels)),
                _milliseconds(window.quantile(metrics.TIME_PER_OUTPUT_TOKEN, 0.5, **labels)),
                _milliseconds(window.quantile(metrics.TIME_PER_OUTPUT_TOKEN, 0.95, **labels)),
            )
    return table


def _groups(window: Window, models: list[str]) -> Table:
    table = Table(box=None, header_style="bold", title="Groups", title_justify="left", title_style="bold cyan")
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    for column in ("groups", "run", "fim", "chat", "held", "tok/s", "cached", "step", "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    adapters = {model: window.now.most(metrics.ADAPTERS_LOADED, model=model) for model in models}
    if any(adapters.values()):
        table.add_column("adapters", justify="right", no_wrap=True)
    table.add_column("KV memory", no_wrap=True)
    table.add_column("", style="red")
    for model in models:
        now = window.now
        prompt, cached = (window.rate(m, model=model) for m in (metrics.PROMPT_TOKENS, metrics.CACHED_TOKENS))
        recompiled = now.total(metrics.RECOMPILATIONS, model=model)
        table.add_row(
            model,
            _groups_text(now, model),
            f"{now.total(metrics.RUNNING_REQUESTS, model=model):.0f}",
            f"{now.total(metrics.QUEUE_DEPTH, model=model, priority='urgent'):.0f}",
            f"{now.total(metrics.QUEUE_DEPTH, model=model, priority='normal'):.0f}",
            f"{now.total(metrics.WAITING_REQUESTS, model=model):.0f}",
            f"{window.rate(metrics.GENERATED_TOKENS, model=model):.0f}",
            f"{cached / prompt:.0%}" if prompt else "-",
            _milliseconds(window.quantile(metrics.STEP_SECONDS, 0.5, model=model)),
            _milliseconds(now.most(metrics.STEP_LIMIT_SECONDS, model=model) or None),
            *([f"{adapters[model]:.0f}"] if any(adapters.values()) else []),
            _bar(now.most(metrics.KV_USED_RATIO, model=model)),
            f"{recompiled:.0f} recompilations: a bug" if recompiled else "",
        )
    return table


def _groups_text(now: Scrape, model: str) -> Text:
    ready = now.most(metrics.READY_GROUPS, model=model)
    wanted = now.most(metrics.AUTOSCALING_TARGET, deployment=model)
    text = f"{ready:.0f} of {wanted:.0f}" if wanted > ready else f"{ready:.0f}"
    return Text(text, style="red" if not ready else "")


def _bar(share: float) -> Text:
    filled = round(share * _BAR)
    style = "red" if share > 0.95 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (_BAR - filled), "dim"), f" {share:.0%}")


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
