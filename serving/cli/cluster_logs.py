"""`codegemma cluster logs`: the logs of all pods of a release, in one stream."""

from itertools import cycle
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from serving.cli.cluster_connection import DEFAULT_RELEASE, ContextOption, NamespaceOption, ReleaseOption, cluster_of
from serving.cluster.errors import ClusterError
from serving.cluster.logs import Container, containers_of, follow_logs, read_logs, seconds
from serving.cluster.release import pods_of, service_of

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def logs(
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="Only one Ray group: gateway, headgroup, or a worker group.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow until Ctrl-C, new pods too.")] = False,
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 1d.")] = "10m",
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
) -> None:
    """Print the logs of all pods by time, each line with the name of its pod."""
    try:
        since_s = seconds(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    with cluster_of(context, namespace) as cluster:
        service_of(cluster, release)

        def find() -> list[Container]:
            return containers_of(pods_of(cluster, release), group)

        containers = find()
        if not containers:
            labels = (pod["metadata"]["labels"] for pod in pods_of(cluster, release))
            there = sorted({one["ray.io/group"] for one in labels if "ray.io/group" in one})
            raise ClusterError(
                f"release '{release}' has no started pod{f' in group {group!r}' if group else ''}; groups with pods: "
                f"{', '.join(there) or 'none'}. `codegemma cluster status` says why pods are pending."
            )
        lines = follow_logs(cluster, find, since_s) if follow else read_logs(cluster, containers, since_s)
        console, colors, styles = Console(soft_wrap=True), cycle(_COLORS), dict[Container, str]()
        try:
            for line in lines:
                if line.container not in styles:
                    styles[line.container] = next(colors)
                console.print(Text.assemble((str(line.container), styles[line.container]), " ", line.text))
        except KeyboardInterrupt:
            raise typer.Exit from None
