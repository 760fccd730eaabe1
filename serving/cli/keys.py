"""`codegemma keys`: the API keys of a service."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.access.keys import ApiKey, KeyFile
from serving.cli.cluster_connection import ContextOption, NamespaceOption
from serving.cli.errors import say_error
from serving.cli.key_store import KeyStore, key_store
from serving.config import Role
from serving.models.adapted_id import ADAPTED_ID

keys = typer.Typer(help="Create, list and revoke the API keys of a service.", no_args_is_help=True)

FileOption = Annotated[
    Path,
    typer.Option("--file", "-f", envvar="CODEGEMMA_KEYS_FILE", help="The service's gateway.keys_file."),
]
SecretOption = Annotated[
    str | None,
    typer.Option(help="A Kubernetes Secret that holds the file, instead of this machine. Created if missing."),
]
_DEFAULT_FILE = Path("keys.yaml")
_NONE = "none"


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="The holder: a person, a team, a service.")],
    tenant: Annotated[str, typer.Option(help="The tenant of its requests, as in routing.tenants.")] = "",
    role: Annotated[list[Role] | None, typer.Option(help="A role that it may use. Repeatable. Default: all.")] = None,
    adapters: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL:ADAPTER",
            help="An adapter that it may use, with its model's id, not an alias; or `none`. Repeatable. Default: all.",
        ),
    ] = None,
    file: FileOption = _DEFAULT_FILE,
    secret: SecretOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Create a key and print it once; the file keeps a salted hash. A running service accepts it at once."""
    if not 0 < len(name) <= 64 or len(tenant) > 64:
        raise typer.BadParameter("a name has 1 to 64 characters, a tenant at most 64")
    allowed = _adapters(adapters)
    with key_store(file, secret, context, namespace, to_change=True) as store:
        changed, key = (store.read() or KeyFile()).with_new(name, tenant, tuple(role or Role), allowed)
        store.write(changed)
    typer.echo(key)  # before all else that could go wrong
    console = Console(stderr=True, soft_wrap=True)
    _say(console, f"This is the key of {name!r}, saved in {store}; it cannot be shown again.")
    _say(console, "Clients send it as bearer token: export CODEGEMMA_API_KEY=... for this command.", style="dim")


@keys.command("list")
def list_keys(
    file: FileOption = _DEFAULT_FILE,
    secret: SecretOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON, without the hashes.")] = False,
) -> None:
    """List the keys, without the secrets."""
    with key_store(file, secret, context, namespace) as store:
        entries = _read(store).keys
    if as_json:
        shown = [entry.model_dump(mode="json", exclude={"salt", "sha256"}) for entry in entries]
        typer.echo(json.dumps(shown, indent=2))
    else:
        Console().print(_table(entries))


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `codegemma keys list` shows it.")],
    file: FileOption = _DEFAULT_FILE,
    secret: SecretOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Revoke a key. A running service refuses it from the next request on."""
    with key_store(file, secret, context, namespace, to_change=True) as store:
        known = _read(store)
        try:
            changed = known.without(key_id)
        except KeyError:
            ids = ", ".join(entry.id for entry in known.keys) or "none"
            say_error(f"{store} has no key with the id {key_id!r}. There are: {ids}.")
            raise typer.Exit(1) from None
        store.write(changed)
    _say(Console(stderr=True), f"Revoked {key_id}.")


def _say(console: Console, text: str, style: str | None = None) -> None:
    """Prints the text as it is: names and paths may look like Rich's markup."""
    console.print(text, style=style, markup=False, highlight=False)


def _read(store: KeyStore) -> KeyFile:
    known = store.read()
    if known is None:
        say_error(f"{store} is not there. Make a key with `codegemma keys create`, or name another place.")
        raise typer.Exit(1)
    return known


def _adapters(named: list[str] | None) -> tuple[str, ...] | None:
    """What `--adapters` says; None for all."""
    if not named:
        return None
    if named == [_NONE]:
        return ()
    for name in named:
        if ADAPTED_ID.fullmatch(name) is None:
            raise typer.BadParameter(f"{name!r} is no adapter; write MODEL:ADAPTER, or `none` alone")
    return tuple(dict.fromkeys(named))


def _table(entries: tuple[ApiKey, ...]) -> Table:
    table = Table("id", "name", "tenant", "roles", "adapters", "created", box=None, header_style="bold")
    table.columns[0].style = "cyan"
    for entry in entries:
        adapters = "all" if entry.adapters is None else ", ".join(entry.adapters) or _NONE
        created = f"{entry.created:%Y-%m-%d %H:%M}"
        shown = (entry.id, entry.name, entry.tenant or "-", ", ".join(entry.roles), adapters, created)
        table.add_row(*map(Text, shown))  # a plain `str` would be read as markup
    return table
