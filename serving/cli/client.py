"""Client: asks a running server by OpenAI's API, and says in one line what went wrong."""

import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
import typer
from httpx_sse import connect_sse

from serving.cli.answer import Answer, Event
from serving.cli.errors import say_error

_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 300.0
"""Silence after which a server counts as dead: the service's own default for a request."""


class ServerError(Exception):
    """The server did not answer as it should; the message is one line that says what to do."""


class Client:
    """A connection to a server. Requests are not retried: a person waits."""

    def __init__(self, url: str, api_key: str) -> None:
        """Connects with the first request.

        Args:
          url: the server's address, without `/v1`.
          api_key: sent as bearer token; empty sends none.
        """
        self._url = url
        self._http = httpx.Client(
            base_url=f"{url}/v1/",
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            # What certificates to trust takes 0.03 s to read; plain HTTP asks for none.
            verify=url.startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """The models that the server lists.

        Raises:
          ServerError: it did not say it.
        """
        with self._explained():
            response = self._http.get("models")
            self._check(response, "application/json")
            return msgspec.json.decode(response.content, type=_Models).data

    def ask(self, path: str, /, **body: object) -> Answer:
        """Asks for a streamed answer; the request is sent when its first piece is asked for.

        Args:
          path: `completions` or `chat/completions`.
          body: its fields; those that are None are left out.

        Raises (while the answer is read):
          ServerError: the server refused, or the answer broke off.
        """
        return Answer(self._events(path, {name: value for name, value in body.items() if value is not None}))

    def _events(self, path: str, body: dict[str, object]) -> Generator[Event]:
        with self._explained(), connect_sse(self._http, "POST", path, json={**body, "stream": True}) as source:
            self._check(source.response, "text/event-stream")
            for event in source.iter_sse():
                if event.data == "[DONE]":
                    return
                if message := _error_message(event.data):
                    raise ServerError(message)
                yield msgspec.json.decode(event.data, type=Event)
            raise ServerError(f"The answer from {self._url} broke off. Ask again.")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise ServerError(
                f"No answer from {self._url}: {error or type(error).__name__}. Is the server running? "
                "`codegemma serve` starts one, --url names another."
            ) from None
        except msgspec.MsgspecError:
            raise self._unexpected("something else") from None

    def _check(self, response: httpx.Response, wanted: str) -> None:
        """Refuses every answer but a success of the expected content type."""
        kind = response.headers.get("content-type", "nothing").partition(";")[0]
        if response.is_success and kind != wanted:
            raise self._unexpected(kind)
        if response.is_success:
            return
        message = _error_message(response.read())
        if response.status_code == httpx.codes.UNAUTHORIZED or (
            response.status_code == httpx.codes.FORBIDDEN and not message
        ):
            raise ServerError(f"The server at {self._url} refused the API key. Set CODEGEMMA_API_KEY or --api-key.")
        raise ServerError(message) if message else self._unexpected(f"HTTP status {response.status_code}")

    def _unexpected(self, what: str) -> ServerError:
        return ServerError(f"{self._url} answered with {what}, which is not an OpenAI API. Is --url right?")


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Error(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Error


def _error_message(body: str | bytes) -> str:
    """The message of an OpenAI error body in one line; empty if the body is not one."""
    try:
        return " ".join(msgspec.json.decode(body, type=_ErrorBody).error.message.split())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


@contextmanager
def connected(url: str, api_key: str) -> Iterator[Client]:
    """A client of the server at `url`; ends the command with one line when the server fails to answer."""
    try:
        with Client(url, api_key) as client:
            yield client
    except ServerError as error:
        say_error(str(error))
        raise typer.Exit(1) from None
