"""Whoever has no valid key or token gets nothing at all, on every route and method, and is told so as its API does."""

from pathlib import Path

import grpc
import pytest

from serving.errors import Reason, ServingError
from serving.gateway.access import failed_attempts
from serving.gateway.http.api import api_at
from serving.gateway.http.app import APIS
from tests.gateway.scripted_backend import ScriptedBackend
from tests.security.credentials import valid_token, wrong_headers
from tests.security.service import BODIES, MODEL, Headers, Service, Way, called, grpc_methods, http_ways, sent

_DOCS = ("/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.js", "/docs/swagger-ui.css")
OPEN = {Way(method, path) for method in ("GET", "HEAD") for path in ("/health", "/", "/playground/style.css", *_DOCS)}
"""All that needs no key; docs/access.md says so."""
_METADATA_BYTES = 8 * 1024 - 500
"""Beyond this gRPC itself refuses more and more of what comes, without reading it."""
CLOSED = [way for way in http_ways() if way not in OPEN]


@pytest.fixture
def service(tmp_path: Path, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(failed_attempts, "PER_MINUTE", 10_000)
    return Service(tmp_path, backend)


def wrong(service: Service) -> dict[str, Headers]:
    revoked = service.new_key()
    service.revoke_all()
    return wrong_headers(service.new_key("platform"), revoked)


async def refusal(service: Service, headers: Headers) -> ServingError:
    """What the service says of headers, whatever protocol brings them."""
    with pytest.raises(ServingError) as raised:
        await service.access.caller(headers.get("authorization", ""), headers.get("x-api-key", ""), "")
    assert raised.value.reason is Reason.UNAUTHENTICATED
    return raised.value


def test_every_path_that_takes_a_body_is_tried_with_one() -> None:
    refused_anyway = ("/api/p", "/api/c", "/api/embed", "/api/blobs")  # Ollama's answers are 501 whatever is sent
    taking = {way.path for way in CLOSED if way.method == "POST" and not way.path.startswith(refused_anyway)}
    assert taking | {"/api/chat"} == set(BODIES) | {"/v1/health"}


@pytest.mark.parametrize("way", CLOSED, ids=str)
async def test_over_http_each_wrong_credential_is_401_in_the_form_of_the_api(service: Service, way: Way) -> None:
    api = api_at(way.path, APIS)
    async with service.http() as client:
        for name, headers in wrong(service).items():
            answer = await client.send(sent(client, way, headers=headers))
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), name
            assert answer.headers["x-should-retry"] == "false"
            if way.method != "HEAD":
                assert answer.json() == api.error_body(await refusal(service, headers)), name
            assert not any(value in answer.text for value in headers.values() if len(value) > 8), name
    assert not service.backend.requests


@pytest.mark.parametrize("way", CLOSED, ids=str)
async def test_over_http_a_key_counts_in_no_other_place(service: Service, way: Way) -> None:
    key = service.new_key()
    async with service.http() as client:
        for name in ("api_key", "key", "access_token", "token", "authorization", "x-api-key"):
            answer = await client.send(sent(client, way, params={name: key}, cookies={name: key}))
            assert answer.status_code == 401, name
        if way.path in BODIES and way.method == "POST":
            body = BODIES[way.path] | {"api_key": key, "user": key, "metadata": {"authorization": f"Bearer {key}"}}
            assert (await client.post(way.path, json=body)).status_code == 401
    assert not service.backend.requests


@pytest.mark.parametrize("way", CLOSED, ids=str)
async def test_over_http_a_valid_key_and_a_valid_token_open_every_route(service: Service, way: Way) -> None:
    async with service.http() as client:
        for credential in (service.new_key(), valid_token()):
            answer = await client.send(sent(client, way, headers={"authorization": f"Bearer {credential}"}))
            assert answer.status_code == (501 if answer.status_code == 501 else 200), answer.text


@pytest.mark.parametrize("way", sorted(OPEN), ids=str)
async def test_what_is_open_says_nothing_of_the_models(service: Service, way: Way) -> None:
    async with service.http() as client:
        answer = await client.send(sent(client, way))
    assert answer.status_code == 200
    assert MODEL not in answer.text


@pytest.mark.parametrize("method", grpc_methods())
async def test_over_grpc_each_wrong_credential_is_unauthenticated(service: Service, method: str) -> None:
    async with service.grpc() as channel:
        for name, headers in wrong(service).items():
            call = called(channel, method, headers)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            if sum(map(len, headers.values())) > _METADATA_BYTES:
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED or "metadata" not in str(raised.value)
                continue
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED, name
            assert raised.value.details() == (await refusal(service, headers)).message, name
    assert not service.backend.requests


@pytest.mark.parametrize("method", grpc_methods())
async def test_over_grpc_a_valid_key_and_a_valid_token_open_every_method(service: Service, method: str) -> None:
    async with service.grpc() as channel:
        for credential in (service.new_key(), valid_token()):
            call = called(channel, method, {"authorization": f"Bearer {credential}"})
            try:
                await call.read()
            except grpc.aio.AioRpcError as error:  # the message is empty
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
