"""Where two APIs have one path, a body is read and refused by the API whose it is."""

from collections import Counter

import httpx
import pytest

from serving.config import GatewayConfig
from serving.gateway.http.api import BodyHandler
from serving.gateway.http.app import APIS, build_http_app
from serving.gateway.http.shared_path import by_path
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service


def test_one_api_takes_what_no_other_claims_at_each_shared_path() -> None:
    shared = [routes for routes in by_path(APIS) if len(routes) > 1]
    assert Counter(own[0].route.path for own in shared)["/v1/completions"] == 1
    for routes in shared:
        handlers = [own.route.handler for own in routes]
        assert all(isinstance(handler, BodyHandler) for handler in handlers)
        assert sum(isinstance(handler, BodyHandler) and handler.claims is None for handler in handlers) == 1


@pytest.mark.parametrize(
    ("body", "is_tabbys"),
    [
        ({"segments": {"prefix": "a"}}, True),
        ({"segments": {"prefix": "a"}, "prompt": None}, True),
        ({"debug_options": {"raw_prompt": "a"}}, True),
        ({"prompt": "a"}, False),
        ({"prompt": "a", "segments": {"prefix": "b"}}, False),
        ({"prompt": "a", "debug_options": {"raw_prompt": "b"}}, False),
        ({"prompt": "a", "segments": None}, False),
    ],
)
async def test_a_completion_is_tabbys_or_openais_by_its_body(
    client: httpx.AsyncClient, body: dict[str, object], is_tabbys: bool
) -> None:
    answer = (await client.post("/v1/completions", json=body)).json()
    assert set(answer) == ({"id", "choices"} if is_tabbys else {*answer, "object", "usage"})
    refused = (await client.post("/v1/completions", json={**body, "temperature": 99.0})).json()
    assert isinstance(refused["error"], str if is_tabbys else dict)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"debug_options": {}}', b'{"debug_options": 5}'])
async def test_what_is_nobodys_is_refused_in_the_form_of_the_first(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/v1/completions", content=body)
    assert (response.status_code, set(response.json()["error"])) == (400, {"message", "type", "param", "code"})


async def test_a_wrong_method_is_told_all_that_the_path_takes(client: httpx.AsyncClient) -> None:
    for path, methods in (("/v1/health", "GET, HEAD, POST"), ("/api/blobs/1", "HEAD, POST"), ("/infill", "POST")):
        response = await client.put(path)
        assert (response.status_code, response.headers["allow"]) == (405, methods)
        assert f"but {methods}." in response.text


async def test_a_body_so_large_that_a_thread_reads_it_is_told_apart_too(backend: ScriptedBackend) -> None:
    service = one_model_service(backend)
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for body, kind in ((b'{"segments": {"prefix": ""}}', str), (b'{"prompt": ""}', dict)):
            response = await client.post("/v1/completions", content=body.rjust(100_000))
            assert (response.status_code, type(response.json()["error"])) == (400, kind)
