"""Tokens: who calls, by a JSON Web Token (RFC 7519) that an issuer signed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from jwt import exceptions as faults

from serving.access.config import IssuerConfig
from serving.config import Role
from serving.gateway.access.caller import Caller, tenant_owner
from serving.gateway.access.failed_attempts import UnauthenticatedError, Why
from serving.gateway.access.issuer_keys import IssuerKeys

_MAX_CHARACTERS = 16 * 1024
_MAX_NAME_CHARACTERS = 256
_ROLES = {str(role): role for role in Role}

_FAULTS: tuple[tuple[type[Exception], Why, str], ...] = (
    (faults.ExpiredSignatureError, "expired", "The token has expired. Get a new one from its issuer."),
    (
        faults.ImmatureSignatureError,
        "not_yet_valid",
        "The token is not valid yet. Send it later, or have the clock of its issuer set.",
    ),
    (
        faults.InvalidAudienceError,
        "audience",
        "The token is for another service: its claim aud is not what this service is called. Ask its issuer for one "
        "for this service.",
    ),
    (
        faults.MissingRequiredClaimError,
        "claim",
        "The token has no claim exp, iss or aud. Ask its issuer for an access token for this service.",
    ),
    (
        faults.InvalidSignatureError,
        "signature",
        "The token is not signed with the key of its issuer that it names. Get a new one from its issuer.",
    ),
)


def is_token(credential: str) -> bool:
    """Whether this is meant to be a token, of three parts, and not an API key."""
    return credential.count(".") == 2


class Issuer:
    """An issuer, and what its tokens say."""

    def __init__(self, config: IssuerConfig, keys: IssuerKeys | None = None) -> None:
        self.name = config.issuer
        self._config = config
        self._keys = keys or IssuerKeys(config)
        self._options: Any = {"require": ["exp", "iss", "aud"], "verify_sub": False, "verify_jti": False}

    async def caller(self, token: str, header: Mapping[str, Any]) -> Caller:
        """Who holds a token of this issuer.

        Raises:
          ServingError: UNAUTHENTICATED; UNAVAILABLE without any keys.
        """
        algorithm, key_id = header.get("alg"), header.get("kid")
        # Before a key is looked for: what it allows to be done with it is not for the token to say.
        if algorithm not in self._config.algorithms:
            allowed = ", ".join(self._config.algorithms)
            raise UnauthenticatedError(
                "algorithm", f"The token is not signed in a way that is allowed here. Have it signed by {allowed}."
            )
        key = await self._keys.key(key_id if isinstance(key_id, str) else None)
        if key is None:
            raise UnauthenticatedError(
                "unknown_key", "The token names a key that its issuer does not have. Get a new one from its issuer."
            )
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._config.audience,
                issuer=self.name,
                leeway=self._config.leeway_s,
                options=self._options,
            )
        except (faults.PyJWTError, ValueError, TypeError) as error:
            raise _refusal(error) from None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        config = self._config
        name = self._named(claims, config.name_claim)
        tenant = self._named(claims, config.tenant_claim) if config.tenant_claim else ""
        roles = frozenset(Role)
        if config.roles_claim:
            roles = frozenset(_ROLES[word] for word in _words(claims, config.roles_claim) if word in _ROLES)
        adapters = frozenset(_words(claims, config.adapters_claim)) if config.adapters_claim else None
        owner = tenant_owner(tenant) if tenant else f"token:{len(self.name)}:{self.name}/{name}"
        return Caller(tenant, owner, roles, name, adapters)

    def _named(self, claims: Mapping[str, Any], name: str) -> str:
        value = _claim(claims, name)
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME_CHARACTERS:
            raise UnauthenticatedError(
                "claim",
                f"The token has no text of 1 to {_MAX_NAME_CHARACTERS} characters in its claim {name}. Have its issuer "
                "put it there.",
            )
        return value


class Tokens:
    """The tokens of all issuers."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}

    async def caller(self, token: str) -> Caller:
        """Who holds a token.

        Raises:
          ServingError: UNAUTHENTICATED; UNAVAILABLE if nothing is known of the keys of its issuer yet.
        """
        if len(token) > _MAX_CHARACTERS:
            raise UnauthenticatedError("malformed", f"The token has more than {_MAX_CHARACTERS} characters.")
        try:
            header = jwt.get_unverified_header(token)
            named = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (faults.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _refusal(error) from None
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise UnauthenticatedError(
                "issuer",
                "The token is of an issuer that is not known here. The operator can add it in gateway.issuers.",
            )
        return await issuer.caller(token, header)


def _refusal(error: Exception) -> UnauthenticatedError:
    for kind, why, message in _FAULTS:
        if isinstance(error, kind):
            return UnauthenticatedError(why, message)
    return UnauthenticatedError("malformed", "The token cannot be read. Get a new one from its issuer.")


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    """What a claim with a list, or with words, says; nothing if it is not there or is something else."""
    said = _claim(claims, name)
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return [word for word in words if isinstance(word, str)]


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, which may have dots itself, or by its way through objects."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
