"""Service: asks a running service for completions, and does not count its hiccups as a model's mistakes."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

_ATTEMPTS = 6
_FIRST_WAIT_S = 0.5
_AGAIN = (429, 500, 502, 503, 504)
_OF_THE_BODY = (400, 413, 422)
"""What is wrong is what was asked, not the address, the key or the model."""


class ServiceError(Exception):
    """The service did not answer as it should; the message is one line that says what to do."""


class RefusedError(ServiceError):
    """The service does not answer this question; others it may."""


@dataclass(frozen=True)
class Answer:
    """A completion.

    Attributes:
      started: when it was asked for, in seconds since 1970.
      seconds: how long it took, without attempts that failed before it.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    started: float
    seconds: float


class Service:
    """A connection to a service at `url`, without `/v1`."""

    def __init__(self, url: str, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            base_url=f"{url}/v1/",
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(600, connect=10),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def model(self, name: str) -> dict[str, Any]:
        """What the service says of a model; without a name, of the only one that it serves.

        Raises:
          ServiceError: it does not answer, or does not serve it.
        """
        answer, _ = await self._asked("GET", "models", None)
        served: list[dict[str, Any]] = answer.get("data") or []
        found = [each for each in served if not name or name in (each["id"], *(each.get("aliases") or ()))]
        if len(found) != 1:
            names = ", ".join(each["id"] for each in served)
            raise ServiceError(f"{self._url} serves {names or 'no model'}, not one '{name}': choose with --model.")
        return found[0]

    async def complete(self, body: Mapping[str, object]) -> Answer:
        """A completion, asked for again while the service is busy or away for a moment.

        Raises:
          RefusedError: it does not take this body, as a prompt that is longer than the context.
          ServiceError: it does not answer.
        """
        answer, seconds = await self._asked("POST", "completions", body)
        try:
            choice, usage = answer["choices"][0], answer["usage"]
            return Answer(
                text=choice["text"],
                finish_reason=choice["finish_reason"],
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
                cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
                started=time.time() - seconds,
                seconds=seconds,
            )
        except (KeyError, IndexError, TypeError):
            raise ServiceError(f"{self._url} answered with no completion. Is --url right?") from None

    async def _asked(self, method: str, path: str, body: Mapping[str, object] | None) -> tuple[dict[str, Any], float]:
        """The answer, and how long the attempt took that got it."""
        wait_s, why = _FIRST_WAIT_S, ""
        for _ in range(_ATTEMPTS):
            started = time.monotonic()
            try:
                response = await self._http.request(method, path, json=body)
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
            else:
                if response.is_success:
                    return _json(response), time.monotonic() - started
                why = _message(response)
                if response.status_code not in _AGAIN:
                    kind = RefusedError if response.status_code in _OF_THE_BODY else ServiceError
                    raise kind(f"{self._url} refused: {why}")
            await asyncio.sleep(wait_s)
            wait_s *= 2
        raise ServiceError(
            f"No answer from {self._url} in {_ATTEMPTS} attempts: {why}. The same command goes on from here."
        )


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _message(response: httpx.Response) -> str:
    error = _json(response).get("error")
    if isinstance(error, dict):
        return " ".join(str(error.get("message")).split())
    return f"HTTP status {response.status_code}"
