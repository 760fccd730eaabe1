"""Bodies that come late, or never: nothing waits for them longer than it should, and whoever sends all is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
from starlette.applications import Starlette

from serving.config import GatewayConfig, Role, RoutingConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.http.times import HttpTimes
from serving.gateway.service import CodeService
from tests.gateway.access.nobody_may_ask import NobodyMayAsk
from tests.gateway.conftest import MAX_BODY_BYTES, serving_on_loopback
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service, served_model

_SHORT_S = 0.2
_LONG_S = 1000.0
"""Longer than any test may take."""


def app(backend: ScriptedBackend, *, body_s: float = _LONG_S, unread_body_s: float = _LONG_S) -> Starlette:
    service = one_model_service(backend)
    times = HttpTimes(body_s=body_s, unread_body_s=unread_body_s)
    return build_http_app(lambda: service, GatewayConfig(max_body_bytes=MAX_BODY_BYTES), times)


def closed_app(backend: ScriptedBackend, unread_body_s: float = _LONG_S) -> Starlette:
    service = CodeService(
        [served_model(backend, "m", Role.FIM, Role.CHAT)], GatewayConfig(), RoutingConfig(), access=NobodyMayAsk()
    )
    return build_http_app(lambda: service, GatewayConfig(), HttpTimes(body_s=_LONG_S, unread_body_s=unread_body_s))


class Connection:
    """A connection to a server, on which a test decides what it sends and when."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def post(self, path: str, *headers: str) -> None:
        await self.send("\r\n".join([f"POST {path} HTTP/1.1", "host: gateway", *headers, "", ""]).encode())

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and body, as soon as they are there."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        [length] = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("content-length")]
        return int(head.split()[1]), json.loads(await self._reader.readexactly(int(length)))

    async def end(self) -> bytes:
        """What comes until the server closes the connection."""
        return await self._reader.read()

    async def aclose(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(app: Starlette) -> AsyncIterator[Connection]:
    async with serving_on_loopback(app) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        async with aclosing(Connection(reader, writer)) as connection:
            yield connection


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("header", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_body_that_stops_ends_its_request(backend: ScriptedBackend, path: str, header: str) -> None:
    async with connected(app(backend, body_s=_SHORT_S, unread_body_s=_SHORT_S)) as connection:
        await connection.post(path, header)
        status, body = await connection.answer()
        assert (status, body["error"]["code"]) == (408, "request_timeout")
        assert await connection.end() == b""


async def test_a_body_that_trickles_ends_its_request(backend: ScriptedBackend) -> None:
    async with connected(app(backend, body_s=_SHORT_S, unread_body_s=_SHORT_S)) as connection:
        await connection.post("/v1/completions", "content-length: 60000")

        async def trickle() -> None:
            while True:
                await connection.send(b" ")
                await asyncio.sleep(_SHORT_S / 10)

        trickling = asyncio.create_task(trickle())
        assert (await connection.answer())[0] == 408
        with suppress(ConnectionError):  # what still trickles meets a closed connection
            await connection.end()
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_who_has_no_key_is_told_so_before_sending_a_body(backend: ScriptedBackend, path: str) -> None:
    async with connected(closed_app(backend)) as connection:
        await connection.post(path, "content-length: 100")
        assert (await connection.answer())[0] == 401


@pytest.mark.parametrize("path", ["/nothing", "/v1/models", "/v1/completions"])
async def test_no_body_is_waited_for_long_after_the_answer(backend: ScriptedBackend, path: str) -> None:
    async with connected(closed_app(backend, _SHORT_S)) as connection:
        await connection.post(path, "content-length: 100")
        assert (await connection.answer())[0] in (401, 404, 405)
        assert await connection.end() == b""


async def test_a_body_that_is_too_long_is_refused_before_its_end(backend: ScriptedBackend) -> None:
    async with connected(app(backend)) as connection:
        await connection.post("/v1/completions", "content-length: 1000000")
        status, body = await connection.answer()
        assert (status, body["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("length", [10, 20_000_000])
async def test_who_sends_everything_before_reading_gets_the_answer(backend: ScriptedBackend, length: int) -> None:
    async with connected(closed_app(backend)) as connection:
        await connection.post("/v1/completions", f"content-length: {length}")
        await connection.send(bytes(length))
        assert (await connection.answer())[0] == 401
        assert await connection.end() == b""


async def test_so_many_unread_bodies_are_waited_for_at_once_and_one_more_ends_the_oldest(
    backend: ScriptedBackend,
) -> None:
    async with serving_on_loopback(closed_app(backend)) as url:
        port = int(url.rpartition(":")[2])
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(65)]
        connections = [Connection(*each) for each in streams]
        for connection in connections:
            await connection.post("/v1/completions", "content-length: 100")
            assert (await connection.answer())[0] == 401
        assert await connections[0].end() == b""
        await connections[-1].send(bytes(100))
        assert await connections[-1].end() == b""
        for connection in connections:
            await connection.aclose()


async def test_a_connection_is_kept_where_the_body_was_read(backend: ScriptedBackend) -> None:
    body = json.dumps({"prompt": "a", "suffix": "b"}).encode()
    async with connected(app(backend)) as connection:
        for _ in range(2):
            await connection.post("/v1/completions", f"content-length: {len(body)}")
            await connection.send(body)
            assert (await connection.answer())[0] == 200
