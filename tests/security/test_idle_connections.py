"""10,000 connections on which nothing comes take little, and nobody waits for them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub

from serving.haproxy.hardening import TimeLimits, max_connections
from tests.abuse.lone_gateway import lone_gateway
from tests.abuse.target import HOST, Door, Target
from tests.haproxy.front import front
from tests.raw_http2 import PREFACE, SETTINGS, frame
from tests.security.idle import allow, idle_connections

CONNECTIONS = 10_000
OPENINGS = {Door.HTTP: b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n", Door.GRPC: PREFACE + frame(SETTINGS, 0, 0)}
"""What a connection sends before it is silent: a part of a request, or no stream at all."""
MAX_KB = {Door.HTTP: 12, Door.GRPC: 64}
"""Memory of a connection, in kilobytes."""


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    allow(CONNECTIONS)
    with lone_gateway() as target:
        yield target


async def answers(target: Target) -> None:
    """Both protocols answer, on connections of their own."""
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{target.ports[Door.HTTP]}", timeout=60) as client:
        assert (await client.post("/v1/completions", json={"prompt": "a", "suffix": "b"})).status_code == 200
    async with grpc.aio.insecure_channel(f"{HOST}:{target.ports[Door.GRPC]}") as channel:
        assert (await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="a"), timeout=60)).choices


@pytest.mark.parametrize("door", OPENINGS)
async def test_idle_connections_take_little_and_keep_nobody_waiting(target: Target, door: Door) -> None:
    await answers(target)
    before = target.gateway.memory_info().rss
    async with idle_connections(target.ports[door], CONNECTIONS, OPENINGS[door]) as readers:
        await answers(target)
        grown = target.gateway.memory_info().rss - before
        assert grown < CONNECTIONS * MAX_KB[door] * 1024, f"{grown / CONNECTIONS / 1024:.1f} KB each"
        assert not any(reader.at_eof() for reader in readers)
    await answers(target)


@pytest.mark.parametrize("grpc_port", [False, True])
async def test_idle_connections_at_haproxy_keep_nobody_waiting(
    servers: tuple[int, int], tmp_path: Path, grpc_port: bool
) -> None:
    number = min(CONNECTIONS, max_connections() - 100)
    allow(number)
    none_ends = TimeLimits(header_s=3600)  # however long it takes to open them: their ends would make room
    with front(tmp_path, http_server=servers[0], grpc_server=servers[1], limits=none_ends) as haproxy:
        port = haproxy.ports.grpc if grpc_port else haproxy.ports.http
        async with idle_connections(port, number, b"") as readers:
            answer = await asyncio.to_thread(haproxy.ask, "GET /v1/models")
            assert answer.status == 200
            assert not any(reader.at_eof() for reader in readers)
