"""Connections to the HTTP servers of Gateways and proxies: one that does not finish its headers ends."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import uvicorn
import uvicorn.config
from starlette.types import Receive, Scope, Send

from serving.http_server import SeldomOutOfFiles, TimelyHttp
from serving.ray_servers import guards

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LONG_S = 20
"""Longer than any test may take."""


@pytest.fixture(autouse=True)
def hardened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process of Ray Serve, with a limit that is short."""
    monkeypatch.setattr(TimelyHttp, "headers_s", 0.3)
    before = dict(uvicorn.config.HTTP_PROTOCOLS)
    guards()
    yield
    uvicorn.config.HTTP_PROTOCOLS.update(before)


async def _slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers later than headers may come."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(2 * TimelyHttp.headers_s)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(_slow_app, log_level="critical", ws="none", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.mark.parametrize(
    ("before", "begun"),
    [
        (b"", b""),
        (b"", b"GET"),
        (b"", b"GET / HTTP/1.1\r\nhost: x\r\nx: "),
        (REQUEST, b"GET"),
        (REQUEST, b"GET / HTTP/1.1\r\nhost: x\r\nx: "),
        (REQUEST, b"\r\n"),  # which may stand before a request
    ],
)
async def test_a_request_whose_headers_do_not_come_ends_its_connection(port: int, before: bytes, begun: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(LONG_S):
        if before:
            writer.write(before)
            await reader.readuntil(b"ok")
        writer.write(begun)
        assert await reader.read() == b""
    writer.close()


async def test_bodies_and_answers_may_take_longer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(LONG_S):
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{")
            await asyncio.sleep(2 * TimelyHttp.headers_s)
            writer.write(b"}")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_without_a_file_descriptor_left_the_log_says_so_once(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = socket.socket.accept

    def accept(listening: socket.socket) -> tuple[socket.socket, object]:
        if listening.getsockname()[1] == port:
            raise OSError(24, os.strerror(24))
        return real(listening)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONG_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            while "out of system resource" not in caplog.text:
                await asyncio.sleep(0)
    assert caplog.text.count("socket.accept() out of system resource") == 1
    writer.close()


def test_it_says_so_again_after_a_minute_and_everything_else_at_once() -> None:
    now_s = 0.0
    seldom = SeldomOutOfFiles(lambda: now_s)

    def logged(message: str) -> bool:
        return seldom.filter(logging.LogRecord("asyncio", logging.ERROR, "", 0, message, (), None))

    assert [logged("socket.accept() out of system resource") for _ in range(3)] == [True, False, False]
    assert logged("something else")
    now_s = 61.0
    assert logged("socket.accept() out of system resource")
