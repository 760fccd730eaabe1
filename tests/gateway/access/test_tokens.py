"""Tokens of OpenID Connect issuers: whom they name, and that nothing else gets through."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import BearerAccess, Caller, access_for
from serving.gateway.access.issuer_keys import IssuerKeys
from serving.gateway.access.tokens import Issuer, Tokens
from serving.gateway.http.app import build_http_app
from tests.gateway.access.issuer import (
    AUDIENCE,
    ISSUER,
    KEYS,
    OTHER_KEY,
    FakeIssuer,
    claims,
    issuer_config,
    public_key,
    token,
)
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Tried:
    """Tokens of a fake issuer."""

    def __init__(self, **fields: Any) -> None:
        self.issuer, self.clock = FakeIssuer(), Clock()
        config = issuer_config(**fields)
        self.tokens = Tokens([Issuer(config, IssuerKeys(config, self.issuer, self.clock))])

    async def refused(self, sent: str) -> ServingError:
        with pytest.raises(ServingError) as raised:
            await self.tokens.caller(sent)
        assert not any(part in raised.value.message for part in sent.split(".") if len(part) > 3)
        return raised.value

    async def why(self, sent: str) -> str:
        error = await self.refused(sent)
        assert error.reason is Reason.UNAUTHENTICATED
        return error.why  # type: ignore[attr-defined, no-any-return]


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_names_its_holder_by_each_algorithm(algorithm: str) -> None:
    caller = await Tried().tokens.caller(token(algorithm))
    assert (caller.tenant, caller.key, caller.roles) == ("", "ann", frozenset(Role))


async def test_holders_without_a_tenant_share_nothing() -> None:
    tokens = Tried().tokens
    owners = {(await tokens.caller(token(sub=name))).owner for name in ("ann", "bob", "ann")}
    assert len(owners) == 2


async def test_claims_by_other_names_say_tenant_roles_and_name() -> None:
    tried = Tried(tenant_claim="https://acme.example/team", roles_claim="realm_access.roles", name_claim="email")
    about: dict[str, Any] = {
        "https://acme.example/team": "platform",
        "realm_access": {"roles": ["offline", "fim"]},
        "email": "a@b.c",
    }
    caller = await tried.tokens.caller(token(**about))
    assert caller == Caller("platform", "tenant:platform", frozenset({Role.FIM}), "a@b.c")


@pytest.mark.parametrize(
    ("said", "roles"), [("fim chat", set(Role)), ("openid chat", {Role.CHAT}), ([], set()), (None, set()), ([7], set())]
)
async def test_roles_are_those_that_a_token_says_and_no_others(said: object, roles: set[Role]) -> None:
    assert (await Tried(roles_claim="scope").tokens.caller(token(scope=said))).roles == roles


@pytest.mark.parametrize("tenant", [None, "", 7, ["platform"], "x" * 300])
async def test_a_token_without_the_tenant_that_it_should_name_is_refused(tenant: object) -> None:
    error = await Tried(tenant_claim="team").refused(token(team=tenant))
    assert error.reason is Reason.UNAUTHENTICATED
    assert "claim team" in error.message


WRONG: dict[str, Callable[[], str]] = {  # made when they are sent: tests may run long after they are collected
    "expired": lambda: token(exp=time.time() - 60),
    "not_yet_valid": lambda: token(nbf=time.time() + 60),
    "audience": lambda: token(aud="another service"),
    "issuer": lambda: token(iss="https://evil.example"),
    "signature": lambda: token(key=OTHER_KEY),
    "unknown_key": lambda: token(key=OTHER_KEY, key_id="another"),
    "claim": lambda: token(exp=None),
    "malformed": lambda: "a.b.c",
}
REMEDIES = ("Get a new one", "Send it later", "Ask its issuer", "operator can add")


@pytest.mark.parametrize("why", WRONG)
async def test_a_wrong_token_is_refused_with_the_remedy_and_nothing_of_itself(why: str) -> None:
    tried, sent = Tried(), WRONG[why]()
    assert await tried.why(sent) == why
    message = (await tried.refused(sent)).message
    assert any(remedy in message for remedy in REMEDIES)


async def test_clocks_may_differ_by_the_leeway() -> None:
    now = time.time()
    late, early = token(exp=now - 5), token(nbf=now + 5)
    for sent in (late, early):
        assert (await Tried().tokens.caller(sent)).key == "ann"
    strict = Tried(leeway_s=0)
    assert (await strict.why(late), await strict.why(early)) == ("expired", "not_yet_valid")


@pytest.mark.parametrize("name", ["none", "None", "NONE", ""])
async def test_a_token_without_a_signature_is_refused(name: str) -> None:
    sent = f"{encoded({'alg': name, 'kid': 'RS256'})}.{encoded(claims())}."
    assert await Tried().why(sent) in ("algorithm", "malformed")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_by_hmac_under_the_public_key_is_refused(algorithm: str, encoding: Encoding) -> None:
    secret = KEYS[algorithm].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded({'alg': 'HS256', 'kid': algorithm})}.{encoded(claims())}"
    sent = f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    assert await Tried().why(sent) == "algorithm"


async def test_an_algorithm_that_the_operator_left_out_is_refused() -> None:
    assert await Tried(algorithms=["ES256"]).why(token("RS256")) == "algorithm"


async def test_a_key_is_not_taken_for_another_algorithm() -> None:
    """A token that names a key of another kind than its signature."""
    assert await Tried().why(token("EdDSA", key_id="RS256")) in ("malformed", "signature")


async def test_a_symmetric_key_in_a_key_set_is_not_used() -> None:
    tried = Tried()
    tried.issuer.keys = [{"kty": "oct", "k": "c2VjcmV0", "kid": "RS256"}, *tried.issuer.keys[1:]]
    assert await tried.why(token("RS256")) == "unknown_key"


@given(
    st.text(max_size=200) | st.tuples(*[st.binary(max_size=40)] * 3).map(lambda parts: ".".join(map(encoded, parts)))
)
def test_no_text_is_taken_for_a_token(text: str) -> None:
    with pytest.raises(ServingError) as raised:
        asyncio.run(Tried().tokens.caller(text))
    assert raised.value.reason is Reason.UNAUTHENTICATED


@given(position=st.integers(0, 10**6), letter=st.sampled_from("AQgw_-"))
def test_a_token_with_another_character_is_refused(position: int, letter: str) -> None:
    sent = token("EdDSA")
    place = position % (len(sent) - 1)  # the last one has two bits that mean nothing
    if sent[place] in (letter, "."):
        return
    with pytest.raises(ServingError) as raised:
        asyncio.run(Tried().tokens.caller(sent[:place] + letter + sent[place + 1 :]))
    assert raised.value.reason is Reason.UNAUTHENTICATED


async def test_keys_are_found_by_discovery_once_for_many_at_once() -> None:
    tried = Tried()
    await asyncio.gather(*(tried.tokens.caller(token(algorithm)) for algorithm in [*KEYS] * 5))
    assert tried.issuer.asked == ["/realms/code/.well-known/openid-configuration", "/keys"]


async def test_keys_come_from_a_url_or_a_file_where_the_operator_names_one(tmp_path: Path) -> None:
    tried = Tried(jwks_url="https://login.example/other")
    assert (await tried.tokens.caller(token())).key == "ann"
    assert tried.issuer.asked == ["/other"]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [public_key("EdDSA", KEYS["EdDSA"], "EdDSA")]}))
    from_file = Tried(jwks_file=tmp_path / "jwks.json")
    assert (await from_file.tokens.caller(token())).key == "ann"
    assert from_file.issuer.asked == []


@pytest.mark.parametrize(
    "said", [{"issuer": "https://evil.example"}, {"jwks_uri": "http://login.example/keys"}, {"jwks_uri": 7}]
)
async def test_a_discovery_that_is_anothers_or_leads_over_plain_http_is_not_followed(said: dict[str, Any]) -> None:
    tried = Tried()
    tried.issuer.says_of_itself = said
    assert (await tried.refused(token())).reason is Reason.UNAVAILABLE
    assert "/keys" not in tried.issuer.asked


async def test_a_new_key_is_fetched_when_a_token_names_it_but_not_for_every_such_token() -> None:
    tried = Tried(jwks_url="https://login.example/keys")
    new = token(key=OTHER_KEY, key_id="new")
    assert (await tried.tokens.caller(token())).key == "ann"
    tried.issuer.keys = [public_key("EdDSA", OTHER_KEY, "new")]
    assert [await tried.why(new) for _ in range(5)] == ["unknown_key"] * 5  # the last fetch was a moment ago
    assert len(tried.issuer.asked) == 1
    tried.clock.now_s += 11
    assert (await tried.tokens.caller(new)).key == "ann"
    assert await tried.why(token()) == "unknown_key"  # the old key is no longer there
    assert len(tried.issuer.asked) == 2


async def test_a_key_that_was_withdrawn_goes_within_minutes_though_no_token_names_another() -> None:
    tried = Tried()
    assert (await tried.tokens.caller(token())).key == "ann"
    tried.issuer.keys = tried.issuer.keys[:1]
    tried.clock.now_s += 301
    await tried.tokens.caller(token())  # begins the fetch, and does not wait for it
    async with asyncio.timeout(30):
        while len(tried.issuer.asked) < 4:
            await asyncio.sleep(0)
    assert await tried.why(token()) == "unknown_key"


async def test_old_keys_are_valid_while_the_issuer_is_down(caplog: pytest.LogCaptureFixture) -> None:
    tried = Tried()
    await tried.tokens.caller(token())
    tried.issuer.is_down = True
    for _ in range(3):
        tried.clock.now_s += 301
        assert (await tried.tokens.caller(token())).key == "ann"
        assert await tried.why(token(key_id="new")) == "unknown_key"
    assert "stay as they were" in caplog.text


async def test_an_issuer_that_was_never_reached_is_no_fault_of_the_token() -> None:
    tried = Tried()
    tried.issuer.is_down = True
    error = await tried.refused(token())
    assert error.reason is Reason.UNAVAILABLE
    assert ISSUER in error.message
    tried.issuer.is_down = False
    tried.clock.now_s += 11
    assert (await tried.tokens.caller(token())).key == "ann"


async def test_a_client_that_goes_away_does_not_end_the_fetch_for_others() -> None:
    tried = Tried()
    first = asyncio.create_task(tried.tokens.caller(token()))
    second = asyncio.create_task(tried.tokens.caller(token()))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key == "ann"


async def test_tokens_and_keys_open_the_same_service(tmp_path: Path, backend: ScriptedBackend) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": FakeIssuer().keys}))
    gateway = GatewayConfig(issuers=(issuer_config(jwks_file=tmp_path / "jwks.json", roles_claim="scope"),))
    assert not gateway.shares_cache
    service = one_model_service(backend)
    service.access = access_for(gateway, "0.0.0.0")
    assert isinstance(service.access, BearerAccess)
    transport = httpx.ASGITransport(build_http_app(lambda: service, gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for headers in ({"authorization": f"Bearer {token(scope='fim')}"}, {"x-api-key": token(scope="fim")}):
            assert (await client.get("/v1/models", headers=headers)).status_code == 200
        chat = {"messages": [{"role": "user", "content": "Hi"}]}
        headers = {"authorization": f"Bearer {token(scope='fim')}"}
        assert (await client.post("/v1/chat/completions", json=chat, headers=headers)).status_code == 403
        answer = await client.get("/v1/models", headers={"authorization": f"Bearer {token(exp=1)}"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "expired" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"jwks_url": "http://login.example/keys"}, "is not an https:// URL"),
        ({"issuer": "login"}, "jwks_file"),
        ({"jwks_url": "https://a.example", "jwks_file": "keys.json"}, "Remove one"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"audience": []}, "audience"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused_with_the_remedy(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        issuer_config(**fields)


def test_an_issuer_is_configured_once_and_not_beside_anyone() -> None:
    issuer = issuer_config()
    with pytest.raises(ValueError, match="is there twice"):
        GatewayConfig(issuers=(issuer, issuer))
    with pytest.raises(ValueError, match="anyone=true"):
        GatewayConfig(issuers=(issuer,), anyone=True)
    assert issuer.audience == (AUDIENCE,)
