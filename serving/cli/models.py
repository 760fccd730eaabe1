"""`codegemma models`: what a running server serves."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serving.cli.client import connected
from serving.cli.options import DEFAULT_URL, ApiKeyOption, UrlOption

FIM = {"native": "native", "prefix": "from the prefix", None: "-"}
"""How a model fills in the middle, in the words of `/v1/models` and of the table."""


def models(
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what the server sent, as JSON.")] = False,
) -> None:
    """List the models of a running server."""
    with connected(url, api_key) as client:
        entries = client.models()
    if as_json:
        typer.echo(json.dumps(entries, indent=2))
    else:
        Console().print(_table(entries))


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table("model", "roles", "fill-in-the-middle", "context", "aliases", box=None, header_style="bold")
    table.columns[0].style = "cyan"
    table.columns[3].justify = "right"
    for entry in entries:
        table.add_row(
            str(entry.get("id")),
            ", ".join(entry.get("roles") or []) or "-",
            FIM.get(entry.get("fim"), str(entry.get("fim"))),
            str(entry.get("context_length") or "-"),
            ", ".join(entry.get("aliases") or []) or "-",
        )
    return table
