"""What the commands of `codegemma cluster` share: options, the connection, and how they report errors."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from serving.cli.errors import say_error
from serving.cluster.connection import Cluster, connect
from serving.cluster.errors import ClusterError

ContextOption = Annotated[
    str | None, typer.Option("--context", help="A context of your kubeconfig.", show_default="the current one")
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The namespace of the release.", show_default="that of the context"),
]
ReleaseOption = Annotated[str, typer.Option("--release", help="The name of the release.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DEFAULT_RELEASE = "codegemma"


@contextmanager
def cluster_of(context: str | None, namespace: str | None) -> Iterator[Cluster]:
    """A connection to the cluster; ends the command with one line and status 2 when something is wrong with it."""
    with errors_said():
        with Console(stderr=True).status("Connecting"):
            cluster = connect(context, namespace)
        with closing(cluster):
            yield cluster


@contextmanager
def errors_said() -> Iterator[None]:
    """Ends the command with one line and status 2 when something is wrong with a cluster or with what is for it."""
    try:
        yield
    except ClusterError as error:
        say_error(str(error))
        raise typer.Exit(2) from None


def print_json(value: Any) -> None:
    """Prints a value as JSON, for scripts."""
    typer.echo(json.dumps(value, indent=2))
