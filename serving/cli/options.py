"""The options of the commands that ask a running server."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

DEFAULT_URL = "http://127.0.0.1:8000"


def _check_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"'{url}' must begin with http:// or https://")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises what is wrong with it
        if not parts.hostname:
            raise ValueError("it names no host")
        parts.hostname.encode("idna")
    except ValueError as error:
        raise typer.BadParameter(f"'{url}' is not a server's address: {error}. Give http://HOST:PORT.") from None
    return url.rstrip("/").removesuffix("/v1")


def _check_key(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise typer.BadParameter("a key has printable ASCII characters only; is all of this one yours?")
    return key


UrlOption = Annotated[str, typer.Option("--url", envvar="CODEGEMMA_URL", callback=_check_url, help="The server.")]
ApiKeyOption = Annotated[
    str,
    typer.Option(
        "--api-key", envvar="CODEGEMMA_API_KEY", callback=_check_key, help="Sent as bearer token.", show_default=False
    ),
]
ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A model of `codegemma models`; by default the one for this kind of request."),
]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", "-n", min=1, help="Generate at most this many.")]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", "-t", min=0.0, max=2.0, help="0 always takes the likeliest token.")
]
