"""Connections to the HTTP servers of Gateways and proxies: one that does not finish its headers ends."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
import uvicorn.config
from starlette.types import Receive, Scope, Send

from serving.servers.guards import guards
from serving.servers.http_server import SeldomOutOfFiles, TimelyHttp

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LONG_S = 60
"""Longer than any test may take."""


class Limits:
    """The limits of time that connections have set for headers: they pass when a test says so, and only then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_later = loop.call_later
        self._set: list[tuple[asyncio.TimerHandle, Callable[..., object]]] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        """As the event loop's."""
        timer = self._call_later(delay, callback, *args, **options)
        if delay == TimelyHttp.headers_s:
            self._set.append((timer, callback))
        return timer

    def pass_now(self) -> None:
        """More time than the limit has passed."""
        for timer, callback in self._set:
            if not timer.cancelled():
                callback()
        self._set.clear()


class Received:
    """How many bytes have come to the server."""

    def __init__(self) -> None:
        self._count = 0
        self._more = asyncio.Event()

    def add(self, count: int) -> None:
        self._count += count
        self._more.set()

    async def all_of(self, *sent: bytes) -> None:
        """Waits until as much has come as was sent."""
        while self._count < len(b"".join(sent)):
            self._more.clear()
            await self._more.wait()


@pytest.fixture(autouse=True)
def hardened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process of Ray Serve, with a limit that does not pass by itself."""
    monkeypatch.setattr(TimelyHttp, "headers_s", 10 * LONG_S)
    before = dict(uvicorn.config.HTTP_PROTOCOLS)
    guards()
    yield
    uvicorn.config.HTTP_PROTOCOLS.update(before)


@pytest.fixture
async def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    loop = asyncio.get_running_loop()
    limits = Limits(loop)
    monkeypatch.setattr(loop, "call_later", limits.call_later)
    return limits


@pytest.fixture
async def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    received = Received()
    real = TimelyHttp.data_received

    def data_received(connection: TimelyHttp, data: bytes) -> None:
        real(connection, data)
        received.add(len(data))

    monkeypatch.setattr(TimelyHttp, "data_received", data_received)
    return received


@pytest.fixture
async def port(limits: Limits, received: Received) -> AsyncIterator[int]:
    async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body and answers later than headers may come."""
        while (await receive()).get("more_body"):
            pass
        limits.pass_now()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(slow_app, log_level="critical", ws="none", lifespan="off"))
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
async def test_a_request_whose_headers_do_not_come_ends_its_connection(
    port: int, limits: Limits, received: Received, before: bytes, begun: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(LONG_S):
        if before:
            writer.write(before)
            await reader.readuntil(b"ok")
        writer.write(begun)
        await received.all_of(before, begun)
        limits.pass_now()
        assert await reader.read() == b""
    writer.close()


async def test_bodies_and_answers_may_take_longer(port: int, limits: Limits, received: Received) -> None:
    begun = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{"
    sent: list[bytes] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(LONG_S):
        for _ in range(2):
            writer.write(begun)
            sent.append(begun)
            await received.all_of(*sent)
            limits.pass_now()
            writer.write(b"}")
            sent.append(b"}")
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
