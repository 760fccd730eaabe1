"""Web pages: CORS for those that the operator allows; none of others reaches a keyless service on 127.0.0.1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import BearerAccess, LocalAccess, OpenAccess
from serving.gateway.http.app import build_http_app
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

FIM = {"prompt": "a", "suffix": "b"}
HERE = "http://127.0.0.1:8000"
PAGE = "https://code.example.com"
EVIL = "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ROUTES = ["/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/nothing/here"]


@asynccontextmanager
async def http(
    backend: ScriptedBackend, access: Any = None, url: str = HERE, **fields: Any
) -> AsyncIterator[httpx.AsyncClient]:
    service = one_model_service(backend)
    service.access = access or LocalAccess()
    app = build_http_app(lambda: service, GatewayConfig.model_validate(fields))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url) as client:
        yield client


@pytest.mark.parametrize("path", ROUTES)
async def test_a_preflight_of_an_allowed_page_is_answered_on_every_route(backend: ScriptedBackend, path: str) -> None:
    async with http(backend, allowed_origins=[PAGE]) as client:
        answer = await client.options(path, headers=PREFLIGHT | {"origin": PAGE})
        refused = await client.options(path, headers=PREFLIGHT | {"origin": EVIL})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in refused.headers


async def test_an_allowed_page_reads_answers_and_errors(backend: ScriptedBackend) -> None:
    async with http(backend, allowed_origins=[PAGE]) as client:
        for body, status in ((FIM, 200), (FIM | {"temperature": -1}, 400)):
            answer = await client.post("/v1/completions", json=body, headers={"origin": PAGE})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == PAGE


async def test_without_allowed_origins_no_page_is_told_that_it_may_read(backend: ScriptedBackend) -> None:
    async with http(backend, OpenAccess()) as client:
        answer = await client.post("/v1/completions", json=FIM, headers={"origin": EVIL})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "http://127.0.0.1:3000", "http://127.0.0.1:8000.evil.example", "http://[", ""]
)
async def test_a_foreign_page_is_refused_before_anything_is_computed(backend: ScriptedBackend, origin: str) -> None:
    async with http(backend, allowed_origins=[PAGE]) as client:
        answer = await client.post("/v1/completions", json=FIM, headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "permission_denied"
    assert "gateway.allowed_origins" in answer.json()["error"]["message"]
    assert backend.requests == []


@pytest.mark.parametrize("headers", [{}, {"origin": HERE}, {"origin": PAGE}])
async def test_programs_the_services_own_page_and_allowed_ones_are_answered(
    backend: ScriptedBackend, headers: dict[str, str]
) -> None:
    async with http(backend, allowed_origins=[PAGE]) as client:
        assert (await client.post("/v1/completions", json=FIM, headers=headers)).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=a"])
async def test_what_a_page_may_send_without_asking_is_refused_from_pages_alone(
    backend: ScriptedBackend, kind: str
) -> None:
    async with http(backend) as client:
        body: dict[str, Any] = {"content": b'{"prompt": "a"}', "headers": {"content-type": kind}}
        assert (await client.post("/v1/completions", **body)).status_code == 200  # curl's -d
        body["headers"]["origin"] = HERE
        answer = await client.post("/v1/completions", **body)
    assert answer.status_code == 403
    assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7", "", "[::1", "local host"])
async def test_a_name_that_was_made_to_lead_here_is_refused(backend: ScriptedBackend, host: str) -> None:
    async with http(backend) as client:
        answer = await client.get("/v1/models", headers={"host": host, "origin": f"http://{host}"})
    assert answer.status_code == 403
    assert "gateway.allowed_hosts" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.2", "code.test:80"])
async def test_names_of_this_machine_and_configured_ones_are_answered(backend: ScriptedBackend, host: str) -> None:
    async with http(backend, allowed_hosts=["Code.test"]) as client:
        assert (await client.get("/v1/models", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("with_keys", [True, False])
async def test_where_keys_are_asked_for_or_anyone_may_ask_any_host_and_page_are_answered(
    backend: ScriptedBackend, tmp_path: Path, with_keys: bool
) -> None:
    file, key = KeyFile().with_new("ann", "", tuple(Role))
    file.write(tmp_path / "keys.yaml")
    access = BearerAccess(tmp_path / "keys.yaml") if with_keys else OpenAccess()
    async with http(backend, access, url="http://code.example.com") as client:
        answer = await client.get("/v1/models", headers={"origin": EVIL, "x-api-key": key})
    assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["code.example.com", "https://code.example.com/", "https://*.example.com", ""])
def test_what_is_no_origin_is_refused_in_the_configuration(origin: str) -> None:
    with pytest.raises(ValueError, match="allowed_origins"):
        GatewayConfig.model_validate({"allowed_origins": [origin]})
