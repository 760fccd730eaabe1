"""An issuer of tokens in memory: its keys, what it serves by HTTP, and tokens signed with any key."""

import json
import time
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from serving.access.config import IssuerConfig

ISSUER = "https://login.example/realms/code"
AUDIENCE = "codegemma"

KEYS: dict[str, Any] = {
    "RS256": generate_rsa_key(65537, 2048),
    "ES256": generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate(),
}
"""A private key for each algorithm."""
OTHER_KEY = Ed25519PrivateKey.generate()
_ALGORITHMS: dict[str, type[Algorithm]] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def public_key(algorithm: str, key: Any, key_id: str) -> dict[str, Any]:
    """A key of a key set."""
    public: dict[str, Any] = json.loads(_ALGORITHMS[algorithm].to_jwk(key.public_key()))
    return public | {"kid": key_id, "use": "sig"}


def issuer_config(**fields: Any) -> IssuerConfig:
    return IssuerConfig.model_validate({"issuer": ISSUER, "audience": [AUDIENCE]} | fields)


def claims(**others: Any) -> dict[str, Any]:
    """Those of a token that is valid for a minute; None leaves one out."""
    now = time.time()
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 60} | others
    return {name: value for name, value in said.items() if value is not None}


def token(algorithm: str = "EdDSA", key: Any = None, key_id: str | None = None, **others: Any) -> str:
    """A token with these claims, signed with the key of that algorithm, which has its name as id."""
    return jwt.encode(claims(**others), key or KEYS[algorithm], algorithm, {"kid": key_id or algorithm})


class FakeIssuer(httpx.MockTransport):
    """Serves a key set and OpenID Connect's discovery.

    Attributes:
      keys: what it has.
      asked: the paths that were asked for.
      is_down: answer with 503.
      says_of_itself: what the discovery has besides.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.keys = [public_key(name, key, name) for name, key in KEYS.items()]
        self.asked: list[str] = []
        self.is_down = False
        self.says_of_itself: dict[str, Any] = {}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.is_down:
            return httpx.Response(503)
        if request.url.path.endswith("/.well-known/openid-configuration"):
            said = {"issuer": ISSUER, "jwks_uri": "https://login.example/keys"} | self.says_of_itself
            return httpx.Response(200, json=said)
        return httpx.Response(200, json={"keys": self.keys})
