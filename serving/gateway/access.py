"""Access: who may ask, by the API key that comes with a request over either protocol."""

import logging
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.keys import KeyFile, KeyFileError

_log = logging.getLogger("ray.serve.access")  # below Ray Serve's logger, whose handlers write the log
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
      tenant: for whom its requests are.
      roles: what it may ask for.
    """

    tenant: str
    roles: frozenset[Role]


class Access(Protocol):
    """Tells who calls."""

    def caller(self, authorization: str, api_key: str, tenant: str) -> Caller:
        """Who calls.

        Args:
          authorization: the header or metadata `authorization`, or nothing.
          api_key: the header or metadata `x-api-key`, which some clients send instead, or nothing.
          tenant: whom the request says it is for, or nothing.

        Raises:
          ServingError: UNAUTHENTICATED, and not a word of why.
        """
        ...


class OpenAccess:
    """Everybody may ask for everything, for whom they say."""

    def caller(self, authorization: str, api_key: str, tenant: str) -> Caller:
        """As `Access.caller`."""
        return Caller(tenant, frozenset(Role))


class KeyAccess:
    """Whoever has a key of a file, which may change at any time: a key works, or not, from the next request on."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
          KeyFileError: it cannot be read.
        """
        self._path = path
        self._version = _version(path)
        self._keys = KeyFile.read(path)

    def caller(self, authorization: str, api_key: str, tenant: str) -> Caller:
        """As `Access.caller`; what the request says of its tenant does not count."""
        self._follow()
        is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
        entry = self._keys.find(authorization[len(_SCHEME) :].strip() if is_bearer else api_key)
        if entry is None:
            raise ServingError(Reason.UNAUTHENTICATED, "Send an API key of this service as bearer token.")
        return Caller(entry.tenant, frozenset(entry.roles))

    def _follow(self) -> None:
        """Reads the file again if it is another; one that cannot be read changes nothing."""
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = KeyFile.read(self._path)
        except KeyFileError as error:
            _log.error("the API keys stay as they were: %s", error)
        else:
            _log.info("read %d API keys from %s", len(self._keys.keys), self._path)


def access_for(gateway: GatewayConfig, host: str) -> Access:
    """What the configuration asks for.

    Args:
      gateway: may name a key file.
      host: the address on which the service listens.

    Raises:
      KeyFileError: the key file cannot be read.
      ValueError: other machines reach the service, and nothing says that anyone may ask it.
    """
    if gateway.keys_file is not None:
        return KeyAccess(gateway.keys_file)
    if not gateway.anyone and not _is_loopback(host):
        raise ValueError(
            f"gateway.keys_file is not set, and the service listens on {host!r}, which other machines reach. Make a "
            "key file with `codegemma keys create` and name it there; or listen on 127.0.0.1; or set gateway.anyone: "
            "true if something in front of the service knows its callers."
        )
    return OpenAccess()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
