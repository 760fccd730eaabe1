"""Settings of access: issuers of tokens, and limits."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Name = Annotated[str, Field(min_length=1, max_length=256)]

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones only: with HMAC, the key that checks a token also makes one."""


def _nobody_between(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return url
    raise ValueError(
        f"{url!r} is not an https:// URL: anyone on the way could replace the keys. Use https, "
        "or for the keys of an issuer a file in jwks_file."
    )


class IssuerConfig(_Strict):
    """An issuer of tokens (JSON Web Tokens, RFC 7519), and their claims."""

    issuer: _Name
    """The claim `iss`, character by character. Without `jwks_url` and `jwks_file` an https:// URL, below which
    `/.well-known/openid-configuration` says where its keys are."""
    audience: Annotated[tuple[_Name, ...], Field(min_length=1)]
    """Names of this service, of which the claim `aud` must have one."""
    jwks_url: Annotated[str, AfterValidator(_nobody_between)] | None = None
    """The address of the keys (RFC 7517), if OpenID Connect's discovery does not give it."""
    jwks_file: Path | None = None
    """The same in a file on each Gateway's machine."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256", "EdDSA")
    """That tokens may be signed with."""
    tenant_claim: str | None = None
    """The claim with the tenant; by default the holder is a tenant of its own. A dotted name may lead into objects, as
    `realm_access.roles` does."""
    roles_claim: str | None = None
    """The claim with a list, or words, of which `fim` and `chat` count; by default a token may be used for both."""
    adapters_claim: str | None = None
    """The claim with a list, or words, of adapters as `MODEL:ADAPTER` that a token may be used for; without the claim
    for none. By default a token may be used for all of them."""
    name_claim: str = "sub"
    """The claim with the name that limits and logs call the holder by."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    """How far the issuer's clock may be from ours."""

    @model_validator(mode="after")
    def _one_place_for_keys(self) -> "IssuerConfig":
        if self.jwks_url and self.jwks_file:
            raise ValueError(
                f"jwks_url={self.jwks_url!r} and jwks_file={str(self.jwks_file)!r} are both set. Remove one of them."
            )
        if not self.jwks_url and not self.jwks_file:
            _nobody_between(self.issuer)
        return self


class QuotaConfig(_Strict):
    """Limits of one tenant, or of the holder of one key or token; by default none."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=64)] | None = None
    """Of prompts and answers. No single request may have more."""
    concurrent_requests: Annotated[int, Field(ge=1)] | None = None
    context: Annotated[int, Field(ge=64)] | None = None
    """Tokens of one request, prompt and answer together; never more than its model's."""


class QuotasConfig(_Strict):
    """Limits of tenants and keys."""

    redis: str | None = None
    """The URL of a Redis in which all Gateways count together, as `redis://HOST:6379/0`; its password may be in the
    environment as CODEGEMMA_QUOTAS_REDIS_PASSWORD. By default the one Gateway counts in its memory."""
    per_tenant: QuotaConfig = QuotaConfig()
    """Of each tenant that `tenants` does not name."""
    per_key: QuotaConfig = QuotaConfig()
    """Of each key, or holder of a token, that `keys` does not name."""
    tenants: dict[str, QuotaConfig] = {}
    """By tenant, instead of `per_tenant`."""
    keys: dict[str, QuotaConfig] = {}
    """By the name of a key or of a token's holder, instead of `per_key`."""
