"""CallMetadata: what comes beside the body or message of a request, by the same names over both protocols."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from serving.gateway.access import Access, Caller
from serving.gateway.request import CodeRequest, Protocol
from serving.request_id import REQUEST_ID_HEADER, request_id_of
from serving.servers.ray_headers import ADDRESS_HEADER

SESSION_ID_HEADER = "x-session-id"
_TENANT_HEADER = "x-tenant-id"
_TRACE_HEADER = "traceparent"
_AUTHORIZATION_HEADER = "authorization"
_API_KEY_HEADER = "x-api-key"
_REPETITION_HEADERS = ("x-stainless-retry-count", "grpc-previous-rpc-attempts")
"""How often a client has sent the request before: as the libraries of OpenAI and Anthropic say, and as gRPC's own
retries do (https://github.com/grpc/proposal/blob/master/A6-client-retries.md)."""


@dataclass(frozen=True, slots=True)
class CallMetadata:
    """The headers of an HTTP request or the metadata of a gRPC call.

    Attributes:
      protocol: which of both.
      request_id: the client's own if it may be one, or else made here.
      session_id: as in `CodeRequest`.
      tenant: for whom the call says it is.
      trace: as in `CodeRequest`.
      authorization: may hold a key.
      api_key: a key as some clients send it.
      repeated: as in `CodeRequest`.
      grpc_peer: as in `Access.caller`.
      address: as in `Access.caller`.
      route: as in `CodeRequest`.
    """

    protocol: Protocol
    request_id: str
    session_id: str
    tenant: str
    trace: str
    authorization: str
    api_key: str
    repeated: bool
    grpc_peer: str | None
    address: str
    route: str

    @classmethod
    def read(
        cls, protocol: Protocol, value: Callable[[str], str], grpc_peer: str | None = None, route: str = ""
    ) -> "CallMetadata":
        """Reads it by `value`, which gives what stands under a name, or an empty string."""
        return cls(
            protocol=protocol,
            request_id=request_id_of(value(REQUEST_ID_HEADER)),
            session_id=value(SESSION_ID_HEADER),
            tenant=value(_TENANT_HEADER),
            trace=value(_TRACE_HEADER),
            authorization=value(_AUTHORIZATION_HEADER),
            api_key=value(_API_KEY_HEADER),
            repeated=any(value(name).strip("0") for name in _REPETITION_HEADERS),
            grpc_peer=grpc_peer,
            address=value(ADDRESS_HEADER),
            route=route,
        )

    async def caller(self, access: Access) -> Caller:
        """Identifies the caller.

        Raises:
          ServingError: as `Access.caller`.
        """
        return await access.caller(self.authorization, self.api_key, self.tenant, self.grpc_peer, self.address)

    def applied(self, request: CodeRequest, caller: Caller) -> CodeRequest:
        """The request with what its call and its caller say of it; a session that it names itself stays."""
        return replace(
            request,
            request_id=self.request_id,
            session_id=request.session_id or self.session_id,
            tenant=caller.tenant,
            owner=caller.owner,
            roles=caller.roles,
            adapters=caller.adapters,
            repeated=self.repeated,
            key=caller.key,
            protocol=self.protocol,
            route=self.route,
            trace=self.trace,
        )
