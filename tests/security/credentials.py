"""Credentials that are none: each is a name, and headers, a query and a cookie in which it may come."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.gateway.access.issuer import KEYS, OTHER_KEY, claims, public_key, token
from tests.security.service import Headers

TEAM = {"team": "platform"}


def valid_token(**others: Any) -> str:
    """A token that is taken."""
    return token(**TEAM | others)


def _encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _with_header(key: Any = KEYS["EdDSA"], algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(claims(**TEAM), key, algorithm, header)


def _unsigned(name: str) -> str:
    return f"{_encoded({'alg': name, 'typ': 'JWT', 'kid': 'EdDSA'})}.{_encoded(claims(**TEAM))}."


def _by_public_key(algorithm: str, encoding: Encoding) -> str:
    secret = KEYS[algorithm].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_encoded({'alg': 'HS256', 'kid': algorithm})}.{_encoded(claims(**TEAM))}"
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _with_raw_header(header: bytes) -> str:
    _, body, signature = valid_token().split(".")
    return f"{_encoded(header)}.{body}.{signature}"


WRONG_TOKENS: dict[str, Callable[[], str]] = {
    "expired": lambda: valid_token(exp=time.time() - 3600),
    "not valid yet": lambda: valid_token(nbf=time.time() + 3600),
    "without an end": lambda: valid_token(exp=None),
    "end that is no number": lambda: valid_token(exp="tomorrow"),
    "of another issuer": lambda: valid_token(iss="https://evil.example"),
    "of an issuer like ours": lambda: valid_token(iss="https://login.example/realms/code/"),
    "of two issuers": lambda: _with_raw_claims({"iss": ["https://login.example/realms/code"]}),
    "for another service": lambda: valid_token(aud="billing"),
    "for nobody": lambda: valid_token(aud=None),
    "without a tenant": lambda: token(),
    "signed by another key": lambda: valid_token(key=OTHER_KEY),
    "signed by another key, which it brings along": lambda: _with_header(
        OTHER_KEY, kid="EdDSA", jwk=public_key("EdDSA", OTHER_KEY, "EdDSA")
    ),
    "keys at a place that it names": lambda: _with_header(OTHER_KEY, kid="x", jku="https://evil.example/keys"),
    "certificate at a place that it names": lambda: _with_header(OTHER_KEY, kid="x", x5u="https://evil.example/c"),
    "no key named": lambda: jwt.encode(claims(**TEAM), KEYS["EdDSA"], "EdDSA"),
    "key by a path": lambda: _with_header(OTHER_KEY, kid="../../../../dev/null"),
    "key by a URL": lambda: _with_header(OTHER_KEY, kid="https://evil.example/key.pem"),
    "key by a query": lambda: _with_header(OTHER_KEY, kid="' OR '1'='1"),
    "huge key id": lambda: _with_header(OTHER_KEY, kid="k" * 9000),
    "key of another kind": lambda: valid_token(key_id="RS256"),
    "key id that is a list": lambda: _with_raw_header(b'{"alg":"EdDSA","kid":["EdDSA"]}'),
    "key id twice": lambda: _with_raw_header(b'{"alg":"EdDSA","kid":"no","kid":"EdDSA"}'),
    "alg none": lambda: _unsigned("none"),
    "alg NoNe": lambda: _unsigned("NoNe"),
    "no alg": lambda: _unsigned(""),
    "HS256 with a public key in PEM": lambda: _by_public_key("RS256", Encoding.PEM),
    "HS256 with a public key in DER": lambda: _by_public_key("ES256", Encoding.DER),
    "extension that must be known": lambda: _with_header(kid="EdDSA", crit=["exp"]),
    "nested": lambda: f"{_encoded({'alg': 'EdDSA', 'cty': 'JWT'})}.{_encoded(valid_token().encode())}.AAAA",
    "encrypted": lambda: ".".join(["a"] * 5),
    "deep": lambda: _with_raw_header(b'{"a":' * 2500 + b"1" + b"}" * 2500),
    "header that is no object": lambda: _with_raw_header(b'["EdDSA"]'),
    "huge": lambda: valid_token(padding="p" * 20_000),
    "empty parts": lambda: "..",
    "without its signature": lambda: valid_token().rpartition(".")[0] + ".",
    "twice": lambda: f"{valid_token()},{valid_token()}",
}
"""By what is wrong with it; made when it is sent, as tests may run long after they are collected."""


def _with_raw_claims(others: dict[str, Any]) -> str:
    signed = f"{_encoded({'alg': 'EdDSA', 'kid': 'EdDSA'})}.{_encoded(claims(**TEAM) | others)}"
    return f"{signed}.{_encoded(KEYS['EdDSA'].sign(signed.encode()))}"


def wrong_headers(key: str, revoked: str) -> dict[str, Headers]:
    """Headers without a valid credential, by what is wrong: some have a valid key where none is looked for."""
    tokens = {name: {"authorization": f"Bearer {made()}"} for name, made in WRONG_TOKENS.items()}
    return tokens | {
        "nothing": {},
        "empty": {"authorization": "Bearer "},
        "wrong": {"authorization": f"Bearer {key}x"},
        "a part": {"authorization": f"Bearer {key[:-1]}"},
        "other case": {"authorization": f"Bearer {key.swapcase()}"},
        "revoked": {"authorization": f"Bearer {revoked}"},
        "revoked, as x-api-key": {"x-api-key": revoked},
        "wrong token as x-api-key": {"x-api-key": WRONG_TOKENS["alg none"]()},
        "no scheme": {"authorization": key},
        "other scheme": {"authorization": f"Token {key}"},
        "as a password": {"authorization": f"Basic {_encoded(f'user:{key}'.encode())}"},
        "in a cookie": {"cookie": f"authorization=Bearer {key}; api_key={key}"},
        "in another header": {"api-key": key, "x-goog-api-key": key, "x-auth-token": key, "proxy-authorization": key},
        "as what a proxy would say": {
            "x-forwarded-user": "admin",
            "x-authenticated": "true",
            "x-tenant-id": "platform",
        },
        "wrong beside a right one": {"authorization": "Bearer wrong", "x-api-key": key},
    }
