"""Clients that are slow, or stop, keep nobody else waiting, and leave nothing when they are gone.

How long a Gateway and HAProxy wait for them is in `tests/gateway/http/test_slow_bodies.py`, `tests/serving/
test_http_server.py`, `tests/gateway/test_grpc_server.py` and `tests/haproxy/test_time_limits.py`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.conftest import serving_on_loopback
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service
from tests.security.service import BODIES

_PLACE = {"prompt": "a", "suffix": "b"}
_MANY = 100


@pytest.fixture
def service(backend: ScriptedBackend) -> CodeService:
    return one_model_service(backend)


@pytest.fixture
async def url(service: CodeService) -> AsyncIterator[str]:
    async with serving_on_loopback(build_http_app(lambda: service, GatewayConfig())) as url:
        yield url


@asynccontextmanager
async def connections(url: str, sent: bytes, number: int = _MANY) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """So many that have sent this and read nothing, for as long as the block runs."""
    port = int(url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port, limit=1) for _ in range(number)]
    for _, writer in opened:
        writer.write(sent)
    try:
        yield [writer for _, writer in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


def posted(body: Mapping[str, object], path: str = "/v1/completions") -> bytes:
    content = json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(content), content)


async def is_answered(url: str, **more: object) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        assert (await client.post("/v1/completions", json=_PLACE | more)).status_code == 200


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("end", [b"x: ", b"content-length: 100\r\n\r\n{"], ids=["headers", "body"])
async def test_requests_that_stop_keep_nobody_waiting(
    url: str, backend: ScriptedBackend, path: str, end: bytes
) -> None:
    async with connections(url, b"POST %b HTTP/1.1\r\nhost: x\r\n%b" % (path.encode(), end)):
        await is_answered(url)
    assert len(backend.requests) == 1


async def test_who_goes_away_in_the_middle_of_a_body_leaves_nothing(url: str, backend: ScriptedBackend) -> None:
    async with connections(url, posted(_PLACE)[:-5]) as writers:
        for writer in writers:
            writer.write_eof()
        await is_answered(url)
    assert len(backend.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_who_closes_a_half_of_its_connection_is_gone(url: str, backend: ScriptedBackend, stream: bool) -> None:
    """HAProxy takes it so, and says so to the Gateway."""
    backend.pause_at = 1
    async with connections(url, posted(_PLACE | {"stream": stream}), number=1) as [writer]:
        async with asyncio.timeout(30):
            await backend.paused.wait()
            writer.write_eof()
            await backend.idle.wait()


async def test_streams_that_nobody_reads_end_when_their_text_does_and_keep_nobody_waiting(
    url: str, backend: ScriptedBackend
) -> None:
    """What is generated is bounded by the context; what is not sent yet is kept as text, and no more."""
    backend.text = "x = 1\n" * 100
    async with connections(url, posted(_PLACE | {"stream": True, "max_tokens": 400})):
        async with asyncio.timeout(60):
            while len(backend.requests) < _MANY or backend.running:
                await asyncio.sleep(0.01)
        await is_answered(url, stream=True)
    assert backend.running == 0


async def test_grpc_streams_that_nobody_reads_keep_nobody_waiting_and_end_with_their_client(
    service: CodeService, backend: ScriptedBackend
) -> None:
    backend.text = "x = 1\n" * 100
    message = pb.StreamCompleteRequest(prompt="a", generation_config={"max_tokens": 400})
    async with grpc_server(service) as address:
        async with grpc.aio.insecure_channel(address) as unread:
            calls = [CodeAssistServiceStub(unread).StreamComplete(message) for _ in range(_MANY)]
            async with grpc.aio.insecure_channel(address) as channel:
                answer = await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="a"), timeout=30)
            assert answer.choices
            for call in calls:
                call.cancel()
        async with asyncio.timeout(30):
            while backend.running:
                await asyncio.sleep(0.01)
