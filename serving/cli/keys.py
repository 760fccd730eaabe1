"""`codegemma keys`: who may ask the service."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving.cli.client import say_error
from serving.config import Role
from serving.keys import ApiKey, KeyFile, KeyFileError

keys = typer.Typer(help="Make, list and revoke the API keys of a service.", no_args_is_help=True)

FileOption = Annotated[
    Path,
    typer.Option("--file", "-f", envvar="CODEGEMMA_KEYS_FILE", help="The service's gateway.keys_file."),
]
_DEFAULT_FILE = Path("keys.yaml")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will hold it: a person, a team, a service.")],
    tenant: Annotated[str, typer.Option(help="Whom its requests are for, as in routing.tenants.")] = "",
    role: Annotated[list[Role] | None, typer.Option(help="What it may ask for; by default everything.")] = None,
    file: FileOption = _DEFAULT_FILE,
) -> None:
    """Make a key and print it, the only time; the file keeps a salted hash. A running service takes it at once."""
    if not 0 < len(name) <= 64 or len(tenant) > 64:
        raise typer.BadParameter("a name has 1 to 64 characters, a tenant at most 64")
    known = _read(file) if file.exists() else KeyFile()
    changed, key = known.with_new(name, tenant, tuple(role or Role))
    _write(changed, file)
    console = Console(stderr=True)
    console.print(f"Added {name!r} to {file}. This is the key; nobody can show it again:", highlight=False)
    typer.echo(key)
    console.print("Clients send it as bearer token: export CODEGEMMA_API_KEY=... for this command.", style="dim")


@keys.command("list")
def list_keys(
    file: FileOption = _DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON, without the hashes.")] = False,
) -> None:
    """List the keys, without the secrets."""
    entries = _read(file).keys
    if as_json:
        typer.echo(
            json.dumps([entry.model_dump(mode="json", exclude={"salt", "sha256"}) for entry in entries], indent=2)
        )
    else:
        Console().print(_table(entries))


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `codegemma keys list` shows it.")],
    file: FileOption = _DEFAULT_FILE,
) -> None:
    """Take a key away. A running service refuses it from the next request on."""
    known = _read(file)
    try:
        changed = known.without(key_id)
    except KeyError:
        ids = ", ".join(entry.id for entry in known.keys) or "none"
        say_error(f"{file} has no key with the id {key_id!r}. There are: {ids}.")
        raise typer.Exit(1) from None
    _write(changed, file)
    Console(stderr=True).print(f"Revoked {key_id}.", highlight=False)


def _read(file: Path) -> KeyFile:
    try:
        return KeyFile.read(file)
    except KeyFileError as error:
        say_error(str(error))
        raise typer.Exit(1) from None


def _write(keys: KeyFile, file: Path) -> None:
    try:
        keys.write(file)
    except OSError as error:
        say_error(f"{file} cannot be written: {error.strerror}. Choose another with --file.")
        raise typer.Exit(1) from None


def _table(entries: tuple[ApiKey, ...]) -> Table:
    table = Table("id", "name", "tenant", "roles", "created", box=None, header_style="bold")
    table.columns[0].style = "cyan"
    for entry in entries:
        roles = ", ".join(entry.roles)
        table.add_row(entry.id, entry.name, entry.tenant or "-", roles, f"{entry.created:%Y-%m-%d %H:%M}")
    return table
