"""`/docs` shows the OpenAPI document, to everyone, and takes nothing from elsewhere."""

import json
import re

import httpx
import pytest

from serving.config import GatewayConfig, Role, RoutingConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.access.nobody_may_ask import NobodyMayAsk
from tests.gateway.http.openapi.document import DOCUMENT
from tests.gateway.scripted_backend import ScriptedBackend, served_model

_NAMED = re.compile(r"(?:src|href|url)(?:=|: )\"(?!data:)([^\"]+)\"")


async def test_the_document_is_sent_as_json(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(json.dumps(DOCUMENT))


async def test_all_that_the_page_names_is_relative_and_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    start = (await client.get("/docs/start.js")).text
    assert "://" not in page.text + start
    named = set(_NAMED.findall(page.text + start))
    assert {"openapi.json", "docs/swagger-ui.js", "docs/swagger-ui.css", "docs/start.js"} <= named
    for path in named:
        assert not path.startswith("/")  # an ingress may have taken the beginning of the path away
        assert (await client.get(str(page.url.join(path)))).status_code == 200
    assert "validatorUrl: null" in start


@pytest.mark.parametrize(
    ("path", "kind"),
    [("swagger-ui.js", "text/javascript"), ("swagger-ui.css", "text/css"), ("start.js", "text/javascript")],
)
async def test_files_have_their_types(client: httpx.AsyncClient, path: str, kind: str) -> None:
    assert (await client.get(f"/docs/{path}")).headers["content-type"].startswith(kind)


async def test_a_browser_that_reads_the_page_asks_no_other_server(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/docs")).headers["content-security-policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert "http" not in policy


async def test_the_pages_need_no_key(backend: ScriptedBackend) -> None:
    models = [served_model(backend, "m", Role.FIM, Role.CHAT)]
    service = CodeService(models, GatewayConfig(), RoutingConfig(), access=NobodyMayAsk())
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/docs")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200
