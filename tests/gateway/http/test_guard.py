"""Requests that come to Ray Serve's HTTP servers past HAProxy steer nothing, and are refused as HAProxy would."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve._private.http_util import (
    _apply_middlewares,
    parse_disconnect_disabled_header,
    validate_http_proxy_callback_return,
)
from starlette.types import Receive, Scope, Send

from serving.gateway.http.guard import HttpGuard
from serving.servers.guards import guards
from serving.servers.ray_headers import READ_HEADERS

_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=30)


class RayServe:
    """Reads headers as Ray Serve's replica does: all names, and some values, as UTF-8."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        dict(scope["headers"])[b"x-request-id"].decode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(app: Any, path: str = "/v1/models", headers: dict[str, bytes] | None = None) -> httpx.Response:
    sent = [(name.encode(), value) for name, value in (headers or {}).items()]
    middlewares: Any = validate_http_proxy_callback_return(guards())  # its type leaves out what it lets pass
    guarded = _apply_middlewares(app, middlewares)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://here") as client:
        return await client.get(path, headers=sent)


async def test_in_a_gateway_ray_serve_leaves_clients_that_go_away_to_the_application() -> None:
    ray = RayServe()
    guarded = HttpGuard(ray, watches_clients=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://here") as client:
        await client.get("/v1/models", headers={"x-request-id": "r", "x-request-disconnect-disabled": "?0"})
    assert parse_disconnect_disabled_header({name.encode(): value.encode() for name, value in ray.headers.items()})


@pytest.mark.parametrize("header", READ_HEADERS)
async def test_a_header_that_is_no_text_is_named(header: str) -> None:
    answer = await ask(RayServe(), headers={header: b"\xff"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == header


@pytest.mark.parametrize(
    "header",
    [
        "serve_multiplexed_model_id",
        "multiplexed-model-id",
        "x-request-timeout-seconds",
        "x-request-disconnect-disabled",
        "x-serve-router-target",
        "tracestate",
    ],
)
async def test_headers_of_ray_serve_do_not_reach_it(header: str) -> None:
    ray = RayServe()
    assert (await ask(ray, headers={header: b"\x80", "authorization": b"Bearer key"})).status_code == 200
    assert header not in ray.headers and ray.headers["authorization"] == "Bearer key"


@pytest.mark.parametrize("named", [b"a reason=ok", b"a\xff"])
async def test_a_request_id_that_could_be_another_part_of_a_log_line_is_replaced(named: bytes) -> None:
    ray = RayServe()
    answer = await ask(ray, headers={"x-request-id": named})
    assert answer.status_code == 200 and " " not in ray.headers["x-request-id"]


async def test_a_request_id_is_kept() -> None:
    assert (await ask(RayServe(), headers={"x-request-id": b"mine"})).headers["x-request-id"] == "mine"


@given(headers=st.dictionaries(st.sampled_from(READ_HEADERS) | _TOKEN, st.binary(max_size=60), max_size=4))
def test_whatever_headers_come_the_answer_is_ours(headers: dict[str, bytes]) -> None:
    answer = asyncio.run(ask(RayServe(), headers={**headers, "host": b"here"}))
    assert answer.status_code == 200 or answer.json()["error"]["code"] == "invalid_argument"


async def test_a_websocket_is_closed() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    [guard] = guards()
    guarded = guard.cls(RayServe(), *guard.args, **guard.kwargs)
    await guarded({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert said == ["websocket.close"]
