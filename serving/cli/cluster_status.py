"""`codegemma cluster status`: the state of a release, once or as a live table."""

from dataclasses import asdict
from time import sleep
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serving.cli.cluster_connection import (
    DEFAULT_RELEASE,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    cluster_of,
    print_json,
)
from serving.cluster.rollout import POLL_S
from serving.cluster.status import Status, read_status


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every two seconds, until Ctrl-C.")] = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
    as_json: JsonOption = False,
) -> None:
    """Show rollout, replica groups, queues, and why pods are pending."""
    if watch and as_json:
        raise typer.BadParameter("a live table cannot be JSON: use only one", param_hint="--watch, --json")
    with cluster_of(context, namespace) as cluster:
        console = Console()
        if watch:
            with Live(_render(read_status(cluster, release)), console=console) as live:
                while True:
                    _pause()
                    live.update(_render(read_status(cluster, release)))
        with Console(stderr=True).status("Asking the cluster"):
            now = read_status(cluster, release)
        if as_json:
            print_json(asdict(now))
        else:
            console.print(_render(now), highlight=False)


def _pause() -> None:
    try:
        sleep(POLL_S)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _render(status: Status) -> RenderableType:
    color = "green" if status.rollout.done else "yellow"
    head = Text.assemble((status.release, "bold"), f" in {status.namespace}: ", (status.rollout.text, color))
    clusters = ", ".join(f"{name} ({part})" for part, name in status.clusters.items()) or "none yet"
    parts: list[RenderableType] = [head, Text(f"RayCluster {clusters}", style="dim")]
    parts += [Text(line, style="yellow") for line in _drift(status)]
    tables = (_groups(status), _deployments(status), _queues(status), _pending(status))
    parts += [table for table in tables if table.row_count]
    if status.unread:
        parts.append(Text(f"metrics not read: {status.unread}", style="yellow"))
    return Group(*parts)


def _drift(status: Status) -> list[str]:
    lines = [str(one) for one in status.drift.resizes]
    if lines:
        release = "" if status.release == DEFAULT_RELEASE else f" --release {status.release}"
        lines.append(f"Set them: codegemma cluster resize -n {status.namespace}{release}")
    if status.drift.untolerated:
        groups = ", ".join(status.drift.untolerated)
        lines.append(
            f"The RayCluster lacks tolerations that the RayService has: {groups}. Only a new cluster gets them: with "
            "ray.upgradeStrategy None, delete the RayService and install again."
        )
    return lines


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False, title_justify="left")
    table.columns[0].style = "cyan"
    return table


def _groups(status: Status) -> Table:
    table = _table("group", "ready", "accelerators", "nodes")
    for group in status.groups:
        desired = "?" if group.desired is None else str(group.desired)
        name = group.name if len(status.clusters) < 2 else f"{group.cluster} {group.name}"
        style = "" if group.desired == group.ready else "yellow"
        ready = Text(f"{group.ready}/{desired}", style=style)
        table.add_row(Text(name), ready, Text(group.accelerators or "-"), Text(", ".join(group.nodes) or "-"))
    return table


def _deployments(status: Status) -> Table:
    table = _table("deployment", "status", "")
    for one in status.deployments:
        style = "green" if one.status == "HEALTHY" else "yellow"
        table.add_row(Text(one.name), Text(one.status.lower(), style=style), Text(one.message))
    return table


def _queues(status: Status) -> Table:
    table = _table("model", "groups", "waiting", "queued", "running")
    for model, queue in status.queues.items():
        table.add_row(Text(model), *(str(n) for n in (queue.groups, queue.waiting, queue.queued, queue.running)))
    if status.unread and not status.queues:
        table.add_row("not read", *"????")
    return table


def _pending(status: Status) -> Table:
    table = _table("not running", "why", "what to do")
    for one in status.pending:
        table.add_row(Text(one.name), Text(one.reason), Text(one.remedy))
    return table
