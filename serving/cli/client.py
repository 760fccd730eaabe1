"""How commands reach a running server, and how they say in one line what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import APIError, OpenAI

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 300.0
"""Silence after which a server is taken for dead: what the service itself allows a request by default."""


def _check_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"'{url}' must begin with http:// or https://")
    return url.rstrip("/").removesuffix("/v1")


UrlOption = Annotated[str, typer.Option("--url", envvar="CODEGEMMA_URL", callback=_check_url, help="The server.")]
ApiKeyOption = Annotated[
    str, typer.Option("--api-key", envvar="CODEGEMMA_API_KEY", help="Sent as bearer token.", show_default=False)
]
ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A model of `codegemma models`; by default the one for this kind of request."),
]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", "-n", min=1, help="Generate at most this many.")]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", "-t", min=0.0, max=2.0, help="0 always takes the likeliest token.")
]
DEFAULT_URL = "http://127.0.0.1:8000"


@contextmanager
def connected(url: str, api_key: str) -> Iterator["OpenAI"]:
    """A client of the server at `url`; ends the command with one line when the server fails to answer.

    Nothing is sent twice: a person waits.
    """
    import openai

    def check_kind(response: "Response") -> None:
        kind = response.headers.get("content-type", "nothing")
        if response.is_success and not kind.startswith(("application/json", "text/event-stream")):
            message = f"{url} answered with {kind}, not as a server of this kind. Is --url right?"
            raise openai.APIError(message, response.request, body=None)

    client = openai.OpenAI(
        base_url=f"{url}/v1",
        api_key=api_key or "none",
        max_retries=0,
        timeout=openai.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        http_client=openai.DefaultHttpxClient(event_hooks={"response": [check_kind]}),
    )
    try:
        with client:
            yield client
    except openai.APIError as error:
        say_error(explain(error, url))
        raise typer.Exit(1) from None


def explain(error: "APIError", url: str) -> str:
    """One line that says what went wrong between us and the server, and what to do about it."""
    import openai

    match error:
        case openai.APIConnectionError():
            return (
                f"No answer from {url}: {error.__cause__ or error}. Is the server running? "
                "`codegemma serve` starts one, --url names another."
            )
        case openai.APIStatusError(status_code=401 | 403):
            return f"The server at {url} refused the API key. Set CODEGEMMA_API_KEY or --api-key."
        case openai.APIStatusError(body={"message": str(message)}):
            return _one_line(message)
        case openai.APIStatusError(status_code=status):
            return f"{url} answered with HTTP status {status}, not as a server of this kind. Is --url right?"
        case _:
            return _one_line(error.message)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def say_error(message: str) -> None:
    """Prints one line on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
