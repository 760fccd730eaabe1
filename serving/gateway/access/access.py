"""Access: who may ask, and what the configuration says of it."""

from typing import Protocol

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access.bearer import BearerAccess
from serving.gateway.access.caller import Caller, is_loopback, tenant_owner
from serving.gateway.access.failed_attempts import FailedAttempts
from serving.telemetry.recorder import NoRecorder, Recorder


class Access(Protocol):
    """Tells who calls."""

    async def caller(
        self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None, address: str = ""
    ) -> Caller:
        """Who calls.

        Args:
          authorization: the header or metadata `authorization`, or nothing.
          api_key: the header or metadata `x-api-key`, which some clients send instead, or nothing.
          tenant: whom the request says it is for, or nothing.
          grpc_peer: the IP address at the other end of a gRPC connection, empty if it is not known; None over HTTP,
            whose connections come in where the service listens and nowhere else.
          address: the IP address that the request was sent from, as HAProxy saw it; empty if that is not known.

        Raises:
          ServingError: UNAUTHENTICATED, and not a word of what is wrong with a key; RATE_LIMIT_EXCEEDED after too many
            of these from one address; UNAVAILABLE if nothing was ever heard of the keys of a token's issuer.
        """
        ...


class OpenAccess:
    """Everybody may ask for everything, for whom they say."""

    async def caller(
        self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None, address: str = ""
    ) -> Caller:
        """As `Access.caller`."""
        return _anybody(tenant)


class LocalAccess:
    """Everybody on this machine may ask for everything, for whom they say: for a service that listens on 127.0.0.1.

    Beside that address, Ray Serve has each Gateway listen for gRPC at a port of its own, on every interface unless
    Ray's own address is loopback. HAProxy comes to it over loopback; who comes from elsewhere went around HAProxy.
    """

    async def caller(
        self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None, address: str = ""
    ) -> Caller:
        """As `Access.caller`."""
        if grpc_peer is not None and not is_loopback(grpc_peer):
            raise ServingError(
                Reason.UNAUTHENTICATED,
                "This service answers its own machine alone. To have it answer others, set gateway.keys_file there and "
                "send an API key, or set gateway.anyone.",
            )
        return _anybody(tenant)


def access_for(gateway: GatewayConfig, host: str, recorder: Recorder | None = None) -> Access:
    """What the configuration asks for.

    Args:
      gateway: may name a key file and issuers of tokens.
      host: the address on which the service listens.
      recorder: counts failed attempts.

    Raises:
      KeyFileError: the key file cannot be read.
      ValueError: other machines reach the service, and nothing says that anyone may ask it.
    """
    if gateway.asks_for_keys:
        return BearerAccess(gateway.keys_file, gateway.issuers, FailedAttempts(recorder or NoRecorder()))
    if not gateway.anyone and not is_loopback(host):
        raise ValueError(
            f"gateway.keys_file is not set, and the service listens on {host!r}, which other machines reach. Make a "
            "key file with `codegemma keys create` and name it there, or name an issuer of tokens in gateway.issuers; "
            "or listen on 127.0.0.1; or set gateway.anyone: true if something in front of the service knows its "
            "callers."
        )
    return OpenAccess() if gateway.anyone else LocalAccess()


def _anybody(tenant: str) -> Caller:
    return Caller(tenant, tenant_owner(tenant), frozenset(Role))
