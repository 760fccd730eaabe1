"""IssuerKeys: the public keys of an issuer of tokens, which may change at any time."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from serving.access.config import IssuerConfig
from serving.errors import Reason, ServingError

_log = logging.getLogger("ray.serve.access")  # below Ray Serve's logger, whose handlers write the log

_MAX_AGE_S = 300.0
"""After this the keys are fetched again beside the requests, so that those that were withdrawn go."""
_AT_MOST_EVERY_S = 10.0
"""However many tokens name a key that is not there: anybody can make such tokens."""
_FETCH_S = 5.0
_MAX_BYTES = 2**20


class IssuerKeys:
    """Fetches an issuer's JSON Web Key Set (RFC 7517) by its URL, by OpenID Connect's discovery, or from a file.

    The keys are those of the last fetch that succeeded: an issuer that is down keeps out only holders of tokens
    that were signed with a key that is new since.
    """

    def __init__(
        self,
        issuer: IssuerConfig,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetches nothing yet.

        Args:
          issuer: says where the keys are.
          transport: another way to there than the network, for tests.
          clock: in seconds.
        """
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str | None, PyJWK] | None = None
        self._tried_at = -float("inf")
        self._fetching: asyncio.Task[None] | None = None
        # Made once, as it reads the system's certificates. No connection waits for minutes for the next fetch.
        no_idle = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=_FETCH_S, limits=no_idle, transport=transport)

    async def key(self, key_id: str | None) -> PyJWK | None:
        """The key of this id, or the only one where a token names none; None if the issuer has no such key.

        Raises:
          ServingError: UNAVAILABLE if no fetch has succeeded yet.
        """
        age_s = self._clock() - self._tried_at
        found = self._found(key_id)
        if found is None and (age_s >= _AT_MOST_EVERY_S or self._fetching):
            await asyncio.shield(self._fetch())  # a client that goes away must not end it for others
            found = self._found(key_id)
        elif age_s >= _MAX_AGE_S:
            self._fetch()
        if self._keys is None:
            raise ServingError(
                Reason.UNAVAILABLE,
                f"The keys of {self._issuer.issuer} cannot be fetched, so no token of it can be checked. Try again; "
                "the log of this service says what is wrong.",
                retry_after_s=_AT_MOST_EVERY_S,
            )
        return found

    def _found(self, key_id: str | None) -> PyJWK | None:
        keys = self._keys or {}
        if key_id is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(key_id)

    def _fetch(self) -> "asyncio.Task[None]":
        if self._fetching is None:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._replace_keys())
        return self._fetching

    async def _replace_keys(self) -> None:
        try:
            async with asyncio.timeout(2 * _FETCH_S):
                self._keys = _usable(await self._read())
        except Exception as error:  # of networks, of files, of what is no JSON: the keys stay as they were
            _log.error("the keys of %s stay as they were: %s", self._issuer.issuer, error or type(error).__name__)
        finally:
            self._fetching = None

    async def _read(self) -> Mapping[str, Any]:
        if self._issuer.jwks_file:
            return _object(await asyncio.to_thread(self._issuer.jwks_file.read_bytes))
        url = self._issuer.jwks_url
        if url is None:
            discovery = f"{self._issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
            said = await self._get(discovery)
            url = said.get("jwks_uri")
            if said.get("issuer") != self._issuer.issuer or not isinstance(url, str):
                raise ValueError(f"{discovery} is of {said.get('issuer')!r}, with its keys at {url!r}")
            IssuerConfig(issuer=self._issuer.issuer, audience=self._issuer.audience, jwks_url=url)  # https
        return await self._get(url)

    async def _get(self, url: str) -> Mapping[str, Any]:
        data = bytearray()
        async with self._client.stream("GET", url) as response:
            response.raise_for_status()
            async for part in response.aiter_bytes():
                data += part
                if len(data) > _MAX_BYTES:
                    raise ValueError(f"{url} has more than {_MAX_BYTES} bytes")
        return _object(data)


def _object(data: bytes | bytearray) -> Mapping[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("there is no JSON object")
    return value


def _usable(key_set: Mapping[str, Any]) -> dict[str | None, PyJWK]:
    """The keys for signatures that are known here, by id.

    Raises:
      ValueError: there are none.
    """
    keys: dict[str | None, PyJWK] = {}
    for entry in key_set.get("keys") or ():
        if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and entry.get("kty") != "oct":
            with suppress(PyJWTError, ValueError, TypeError):  # a kind that is not known here; others may be
                keys[entry.get("kid")] = PyJWK.from_dict(entry)
    if not keys:
        raise ValueError("there is no key for signatures in it")
    return keys
