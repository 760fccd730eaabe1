"""BearerAccess: callers with an API key of a file, or a token of an issuer."""

from collections.abc import Sequence
from pathlib import Path

from serving.access.config import IssuerConfig
from serving.gateway.access.caller import Caller, tenant_owner
from serving.gateway.access.failed_attempts import FailedAttempts, UnauthenticatedError
from serving.gateway.access.followed_keys import FollowedKeys
from serving.gateway.access.tokens import Issuer, Tokens, is_token
from serving.telemetry.recorder import NoRecorder

_SCHEME = "bearer "


class BearerAccess:
    """Admits callers with an API key of a file, or a token of an issuer.

    Attributes:
      keys: those of the file, as it was a moment ago; None without a file.
    """

    def __init__(
        self, path: Path | None, issuers: Sequence[IssuerConfig] = (), failures: FailedAttempts | None = None
    ) -> None:
        """Reads the file.

        Raises:
          KeyFileError: it cannot be read.
        """
        self.keys = FollowedKeys(path) if path else None
        self._tokens = Tokens([Issuer(issuer) for issuer in issuers]) if issuers else None
        self._failures = failures or FailedAttempts(NoRecorder())
        wanted = [*(["an API key of this service"] if path else []), *(["a token of its issuer"] if issuers else [])]
        self._remedy = f"Send {' or '.join(wanted)} as bearer token."

    async def caller(
        self, authorization: str, api_key: str, tenant: str, grpc_peer: str | None = None, address: str = ""
    ) -> Caller:
        """As `Access.caller`; what the request says of its tenant does not count."""
        is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
        sent = authorization[len(_SCHEME) :].strip() if is_bearer else api_key
        try:
            if self._tokens and is_token(sent):
                return await self._tokens.caller(sent)
            return self._holder(sent)
        except UnauthenticatedError as error:
            raise self._failures.count(error, address) from error

    def _holder(self, key: str) -> Caller:
        entry = self.keys.find(key) if self.keys else None
        if entry is None:
            raise UnauthenticatedError("unknown_key" if key else "no_key", self._remedy)
        owner = tenant_owner(entry.tenant) if entry.tenant else f"key:{entry.id}"
        adapters = None if entry.adapters is None else frozenset(entry.adapters)
        return Caller(entry.tenant, owner, frozenset(entry.roles), entry.name, adapters)
