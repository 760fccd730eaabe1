"""The page's files over HTTP: open to everyone, closed to everything that is not from here."""

import gzip
import re

import httpx
import pytest

from serving.config import GatewayConfig
from serving.gateway.access import LocalAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.http.playground.page_file import read_page_files
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

PAGE = "index.html"
FILES = sorted(read_page_files().keys() - {PAGE})


def directives(response: httpx.Response) -> dict[str, str]:
    policy = response.headers["content-security-policy"]
    return dict(part.strip().split(" ", 1) for part in policy.split(";"))


async def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = directives(response)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["font-src"] == policy["img-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=", response.text)
    assert not re.search(r"(src|href)=\"(?:https?:)?//", response.text)


async def test_every_page_has_a_nonce_of_its_own(client: httpx.AsyncClient) -> None:
    nonces = set()
    for _ in range(3):
        response = await client.get("/")
        [nonce] = re.findall(r'nonce="([^"]+)"', response.text)
        assert directives(response)["style-src"] == f"'self' 'nonce-{nonce}'"
        assert response.headers["cache-control"] == "no-store"  # with the page its nonce would be kept
        nonces.add(nonce)
    assert len(nonces) == 3


async def test_what_the_page_names_is_relative_and_there(client: httpx.AsyncClient) -> None:
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', (await client.get("/")).text)) - {"docs"}
    assert named
    for name in named:
        assert not name.startswith("/")  # an ingress may have taken the beginning of the path away
        assert (await client.get(f"/{name}")).status_code == 200


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_asked_after_and_not_sent_again(name: str, client: httpx.AsyncClient) -> None:
    first = await client.get(f"/playground/{name}")
    assert first.status_code == 200
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get(f"/playground/{name}", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    changed = await client.get(f"/playground/{name}", headers={"if-none-match": 'W/"another"'})
    assert changed.status_code == 200


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_the_same_packed_and_unpacked(name: str, client: httpx.AsyncClient) -> None:
    plain = await client.get(f"/playground/{name}", headers={"accept-encoding": "identity"})
    packed = await client.get(f"/playground/{name}", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"


async def test_the_bundle_is_small_on_the_wire() -> None:
    assert len(gzip.compress(read_page_files()["playground.js"].content)) < 300_000


@pytest.mark.parametrize(
    "path",
    [
        "/playground/",
        "/playground/none.js",
        "/playground/..%2Fpage.py",
        "/playground",
        f"/playground/{PAGE}",  # which would be without its policy there
    ],
)
async def test_nothing_else_is_below_it(path: str, client: httpx.AsyncClient) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "route_not_found"


@pytest.mark.parametrize("path", ["/", "/playground/playground.js"])
async def test_the_page_is_only_read(path: str, client: httpx.AsyncClient) -> None:
    head = await client.head(path)
    assert head.status_code == 200  # Ollama's clients ask `/` first
    assert not head.content
    assert (await client.post(path, json={})).status_code == 405


async def test_without_keys_no_page_of_another_name_gets_it(backend: ScriptedBackend) -> None:
    model_service = one_model_service(backend)
    service = CodeService(model_service._models, GatewayConfig(), access=LocalAccess())
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 403
