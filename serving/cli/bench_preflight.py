"""One short request of each kind before a load, so that errors show at once and not after a minute of refusals."""

import typer
from codegemma.client import ApiError, ChatMessage, Client, FimInput, GenerationConfig, UnavailableError

from serving.cli.client import connected
from serving.cli.errors import say_error
from serving.load.run import Workload

_PREFIX, _SUFFIX, _QUESTION = "def add(a, b):\n    return ", "\n", "What is a list?"


def check_http(url: str, api_key: str, load: Workload) -> None:
    """Ends the command with one line if the server at `url` is not there or does not answer what the load asks."""
    with connected(url, api_key) as client:
        if load is not Workload.CHAT:
            list(client.ask("completions", prompt=_PREFIX, suffix=_SUFFIX, max_tokens=1))
        if load is not Workload.TYPING:
            messages = [{"role": "user", "content": _QUESTION}]
            list(client.ask("chat/completions", messages=messages, max_tokens=1))


def check_grpc(target: str, api_key: str, load: Workload) -> None:
    """Ends the command with one line if the server at HOST:PORT is not there or does not answer what the load asks."""
    short = GenerationConfig(max_tokens=1)
    try:
        with Client(target, api_key=api_key) as client:
            if load is not Workload.CHAT:
                client.complete(FimInput(prefix=_PREFIX, suffix=_SUFFIX), generation_config=short)
            if load is not Workload.TYPING:
                client.chat([ChatMessage(role=ChatMessage.ROLE_USER, text=_QUESTION)], generation_config=short)
    except UnavailableError as error:
        say_error(
            f"No answer from {target}: {error}. Is the server running? `codegemma serve` starts one, --grpc names "
            "another."
        )
        raise typer.Exit(1) from None
    except ApiError as error:
        say_error(str(error))
        raise typer.Exit(1) from None
