"""Access: who may ask, by the API key that comes with a request over either protocol."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.followed_keys import FollowedKeys

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
      tenant: for whom its requests are; empty if nobody says.
      owner: whose its sessions and what is cached of its prompts are: its tenant's, or those of its key alone if that
        has no tenant.
      roles: what it may ask for.
    """

    tenant: str
    owner: str
    roles: frozenset[Role]


class Access(Protocol):
    """Tells who calls."""

    def caller(self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None) -> Caller:
        """Who calls.

        Args:
          authorization: the header or metadata `authorization`, or nothing.
          api_key: the header or metadata `x-api-key`, which some clients send instead, or nothing.
          tenant: whom the request says it is for, or nothing.
          grpc_peer: the IP address at the other end of a gRPC connection, empty if it is not known; None over HTTP,
            whose connections come in where the service listens and nowhere else.

        Raises:
          ServingError: UNAUTHENTICATED, and not a word of what is wrong with a key.
        """
        ...


class OpenAccess:
    """Everybody may ask for everything, for whom they say."""

    def caller(self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None) -> Caller:
        """As `Access.caller`."""
        return _anybody(tenant)


class LocalAccess:
    """Everybody on this machine may ask for everything, for whom they say: for a service that listens on 127.0.0.1.

    Beside that address, Ray Serve has each Gateway listen for gRPC at a port of its own, on every interface unless
    Ray's own address is loopback. HAProxy comes to it over loopback; who comes from elsewhere went around HAProxy.
    """

    def caller(self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None) -> Caller:
        """As `Access.caller`."""
        if grpc_peer is not None and not is_loopback(grpc_peer):
            raise ServingError(
                Reason.UNAUTHENTICATED,
                "This service answers its own machine alone. To have it answer others, set gateway.keys_file there and "
                "send an API key, or set gateway.anyone.",
            )
        return _anybody(tenant)


class KeyAccess:
    """Whoever has a key of a file.

    Attributes:
      keys: those of the file, as it was a moment ago.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
          KeyFileError: it cannot be read.
        """
        self.keys = FollowedKeys(path)

    def caller(self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None) -> Caller:
        """As `Access.caller`; what the request says of its tenant does not count."""
        is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
        entry = self.keys.find(authorization[len(_SCHEME) :].strip() if is_bearer else api_key)
        if entry is None:
            raise ServingError(Reason.UNAUTHENTICATED, "Send an API key of this service as bearer token.")
        owner = _tenant_owner(entry.tenant) if entry.tenant else f"key:{entry.id}"
        return Caller(entry.tenant, owner, frozenset(entry.roles))


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
    if not gateway.anyone and not is_loopback(host):
        raise ValueError(
            f"gateway.keys_file is not set, and the service listens on {host!r}, which other machines reach. Make a "
            "key file with `codegemma keys create` and name it there; or listen on 127.0.0.1; or set gateway.anyone: "
            "true if something in front of the service knows its callers."
        )
    return OpenAccess() if gateway.anyone else LocalAccess()


def _anybody(tenant: str) -> Caller:
    return Caller(tenant, _tenant_owner(tenant), frozenset(Role))


def _tenant_owner(tenant: str) -> str:
    """With a prefix: a tenant may have the name that is another key's id."""
    return f"tenant:{tenant}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address: an IP address or a host name."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    # A socket for both versions of IP shows 127.0.0.1 as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
