"""`codegemma cluster doctor`: what the cluster lacks for an installation."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving.cli.cluster_connection import (
    DEFAULT_RELEASE,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    cluster_of,
    print_json,
)
from serving.cli.serve_file import ServeFileError, read_serve_file
from serving.cluster.connection import Cluster
from serving.cluster.doctor import (
    Installation,
    examine,
    installation_in,
    installation_of_config,
    installation_of_manifests,
)
from serving.cluster.findings import Finding, Level
from serving.cluster.manifests import read_manifests

_MARKS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.PROBLEM: "[red]problem[/]"}


def doctor(
    manifests: Annotated[
        str | None,
        typer.Option(
            "--filename", "-f", help="The manifests to apply: a file, a directory, or - for stdin.", metavar="PATH"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Instead of manifests, a Ray Serve config file: checks its accelerators."),
    ] = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
    as_json: JsonOption = False,
) -> None:
    """Check whether the cluster has what the service needs, and say how to get what is missing.

    Checks for the given manifests or configuration, otherwise for the installed release. Changes nothing. Exit status 1
    if there is a problem.
    """
    if manifests is not None and config is not None:
        raise typer.BadParameter("give manifests or a configuration, not both", param_hint="--filename, --config")
    with cluster_of(context, namespace) as cluster:
        installation = _installation(cluster, release, manifests, config)
        findings: list[Finding] = []
        with Console(stderr=True).status("Examining the cluster") as status:
            for finding in examine(cluster, installation):
                findings.append(finding)
                status.update(f"Examined: {finding.subject}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _installation(cluster: Cluster, release: str, manifests: str | None, config: Path | None) -> Installation:
    if manifests is not None:
        return installation_of_manifests(release, read_manifests(manifests, hooks=True))
    if config is None:
        return installation_in(cluster, release)
    try:
        return installation_of_config(release, read_serve_file(config).config)
    except ServeFileError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from None


def _print(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    table.columns[1].style = "cyan"
    for finding in findings:
        text = finding.text.replace("[", r"\[")
        remedy = finding.remedy.replace("[", r"\[")
        table.add_row(_MARKS[finding.level], finding.subject, f"{text}\n[dim]{remedy}[/]" if remedy else text)
    console = Console()
    console.print(table, highlight=False)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    console.print(f"\nproblems: {counts[Level.PROBLEM]}, warnings: {counts[Level.WARNING]}, ok: {counts[Level.OK]}")
