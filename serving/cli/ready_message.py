"""What `codegemma serve` prints once the service is ready: where it is, and lines that call it in any other shell."""

import shlex
import sys
from pathlib import Path

from rich.console import Console

from serving.cli.options import DEFAULT_URL
from serving.cli.serve_file import ServeFile
from serving.cli.top import DEFAULT_METRICS_URL
from serving.config import Role

_NAME = "codegemma"
_HTTP_KEY = ' -H "authorization: Bearer $CODEGEMMA_API_KEY"'
_GRPC_KEY = ", api_key=\"'$CODEGEMMA_API_KEY'\""
_EXAMPLES = r"""
Complete by HTTP:

curl -s {url}/v1/completions{http_key} -H 'content-type: application/json' -d '{{
  "model": "{fim}", "prompt": "def fibonacci(n):\n    ", "suffix": "\n\nprint(fibonacci(10))", "max_tokens": 48}}'

Complete by gRPC:

{python} -c '
from codegemma.client import Client, FimInput
with Client("{grpc}"{grpc_key}) as client:
    answer = client.complete(FimInput(prefix="def fibonacci(n):\n    ", suffix="\n\nprint(fibonacci(10))"))
print(answer.choices[0].text)'

In a terminal:

{command} chat{at} 'Write a function that reverses a list.'
{command} complete{at} FILE:LINE:COL
{command} top{metrics_at}

Logs: {logs}
Ctrl-C drains and stops.
"""


def print_ready(file: ServeFile, metrics_url: str, logs: Path, console: Console) -> None:
    """Prints the addresses, the models and the examples."""
    host, port = file.http_address
    url, grpc = f"http://{host}:{port}", ":".join(map(str, file.grpc_address))
    console.print("\n[bold green]codegemma is ready[/]\n", highlight=False)
    console.print(f"  Page   {url}/   completions and chat in a browser", highlight=False)
    console.print(f"  HTTP   {url}/v1   OpenAI's API", highlight=False)
    console.print(f"  gRPC   {grpc}   codegemma.v1, with reflection", highlight=False)
    console.print(f"  Metrics   {metrics_url}   for Prometheus\n", highlight=False)
    models = file.config.models
    for model in models:
        console.print(
            f"  {model.id}   {', '.join(model.roles)}   {model.limits.max_context} tokens of context", highlight=False
        )
    fim = next((model.id for model in models if Role.FIM in model.roles), models[0].id)
    has_keys = file.config.gateway.asks_for_keys
    print(
        _EXAMPLES.format(
            url=url,
            grpc=grpc,
            fim=fim,
            http_key=_HTTP_KEY if has_keys else "",
            grpc_key=_GRPC_KEY if has_keys else "",
            python=shlex.quote(sys.executable),
            command=_command(),
            at="" if url == DEFAULT_URL else f" --url {url}",
            metrics_at="" if metrics_url == DEFAULT_METRICS_URL else f" --metrics-url {metrics_url}",
            logs=logs,
        ),
        flush=True,  # stdout may be a file that another process reads
    )


def _command() -> str:
    """What runs `codegemma` in another shell, which may not have it on its PATH."""
    started = Path(sys.argv[0]).absolute()
    beside = Path(sys.executable).with_name(_NAME)
    if started.name == _NAME:
        return shlex.quote(str(started))
    if beside.exists():  # this process was started by `python -c` or `python -m`
        return shlex.quote(str(beside))
    return shlex.join([sys.executable, "-c", "from serving.cli.main import app; app()"])
