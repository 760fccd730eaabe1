"""The gRPC server as Ray Serve makes it in a Gateway, and clients that break the rules."""

import asyncio
import gzip
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from grpc._cython import cygrpc
from hypothesis import given, settings
from hypothesis import strategies as st
from ray._private.authentication import authentication_utils, grpc_authentication_server_interceptor
from ray._private.grpc_utils import create_grpc_server_with_interceptors
from ray.serve._private import grpc_util
from ray.serve._private.proxy_request_response import gRPCStreamingType
from ray.serve.config import gRPCOptions
from ray.serve.generated.serve_pb2 import (  # type: ignore[attr-defined] # generated without annotations
    ASGIRequest,
    ASGIResponse,
)
from ray.serve.generated.serve_pb2_grpc import ASGIServiceServicer, add_ASGIServiceServicer_to_server
from ray.serve.grpc_util import RayServegRPCContext

from serving.access.keys import KeyFile
from serving.config import GatewayConfig
from serving.gateway.access import BearerAccess
from serving.gateway.grpc.service import GrpcService
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from serving.servers import grpc_server
from tests.free_port import free_port
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service
from tests.raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call,
    exchange,
    frame,
    grpc_headers,
    grpc_message,
    grpc_status,
    header_block,
)

COMPLETE = b"/codegemma.v1.CodeAssistService/Complete"
MESSAGE = grpc_message(pb.CompleteRequest(prompt="p").SerializeToString())
LIMIT = 100_000
OK, INVALID_ARGUMENT, UNIMPLEMENTED, RESOURCE_EXHAUSTED, UNAUTHENTICATED = 0, 3, 12, 8, 16


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [("grpc.max_send_message_length", LIMIT), ("grpc.max_receive_message_length", LIMIT)]
    monkeypatch.setattr(grpc_util, "DEFAULT_GRPC_SERVER_OPTIONS", limits)


def _as_ray_serve_calls(gateway: GrpcService) -> Callable[..., Any]:
    """Handlers like those of Ray Serve's replicas, which hold a call's context in one of their own."""

    def context_of(context: Any) -> RayServegRPCContext:
        own = RayServegRPCContext(context)
        own.set_trailing_metadata([("request_id", own.request_id() or "drawn")])
        assert not own.application() and not own.multiplexed_model_id()
        return own

    def handler_for(service_method: str, streaming_type: gRPCStreamingType) -> Callable[..., Any]:
        method: Any = getattr(gateway, service_method.rpartition("/")[2], None)  # Ray Serve's own are never called

        async def whole(request: Any, context: Any) -> bytes:
            own = context_of(context)
            response = await method(request, own)
            own._set_on_grpc_context(context)
            return bytes(response.SerializeToString())

        async def stream(request: Any, context: Any) -> AsyncGenerator[bytes, None]:
            own = context_of(context)
            async for response in method(request, own):
                yield response.SerializeToString()
            own._set_on_grpc_context(context)

        return stream if streaming_type.value.endswith("stream") else whole

    return handler_for


@asynccontextmanager
async def ray_serves_server(service: CodeService) -> AsyncIterator[str]:
    """Serves for as long as the block runs; yields HOST:PORT."""
    grpc_server.harden()
    options = gRPCOptions(
        port=free_port(),
        grpc_servicer_functions=["serving.gateway.grpc.servicers.add_services"],
        enable_reflection=False,
    )
    loop = asyncio.get_running_loop()
    handlers = _as_ray_serve_calls(GrpcService(service, GatewayConfig()))
    serving, server = await grpc_util.start_grpc_server(handlers, options, event_loop=loop)
    yield f"127.0.0.1:{options.port}"
    await server.stop(grace=None)
    await serving


@pytest.fixture
def backend(codegemma: Tokenizer) -> ScriptedBackend:
    return ScriptedBackend(codegemma, "done")


@pytest.fixture
async def target(backend: ScriptedBackend) -> AsyncIterator[str]:
    async with ray_serves_server(one_model_service(backend)) as target:
        yield target


async def answers(target: str) -> bool:
    """Whether an ordinary client gets an ordinary answer."""
    async with grpc.aio.insecure_channel(target) as channel:
        answer = await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="p"), timeout=20)
    return bool(answer.choices[0].text == "done")


def _opening(*frames: bytes) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames)


HOSTILE = {
    "path that is not UTF-8": call(grpc_headers(b"/codegemma.v1.CodeAssistService/\xff")),
    "path of any bytes": call(grpc_headers(bytes(range(128, 256)))),
    "empty path": call(grpc_headers(b"")),
    "no path": call([header for header in grpc_headers(b"") if header[0] != b":path"]),
    "two paths": call(grpc_headers(COMPLETE, (b":path", b"/\xff"))),
    "long path": call(grpc_headers(b"/" + b"\xfe" * 5000)),
    "authority that is not UTF-8": call(
        [*grpc_headers(b"/\xff")[:3], (b":authority", b"\xff\xfe"), *grpc_headers(b"")[4:]]
    ),
    "method that is not UTF-8": call([(b":method", b"\xff"), *grpc_headers(COMPLETE)[1:]], MESSAGE),
    "metadata key that is not UTF-8": call(grpc_headers(COMPLETE, (b"x-\xff", b"1")), MESSAGE),
    "metadata value that is not UTF-8": call(grpc_headers(COMPLETE, (b"x-session-id", b"\xff\xfe")), MESSAGE),
    "key that is not UTF-8": call(grpc_headers(COMPLETE, (b"authorization", b"Bearer \xff\xfe")), MESSAGE),
    "binary metadata that is not base64": call(grpc_headers(COMPLETE, (b"x-bin", b"\xff!")), MESSAGE),
    "other content type": call([*grpc_headers(COMPLETE)[:5], (b"content-type", b"\xfftext/html")], MESSAGE),
    "timeout that is not one": call(grpc_headers(COMPLETE, (b"grpc-timeout", b"\xff")), MESSAGE),
    "encoding that is not one": call(grpc_headers(COMPLETE, (b"grpc-encoding", b"\xff")), MESSAGE),
    "large headers": call(grpc_headers(COMPLETE, *[(b"x-%d" % i, b"a" * 8000) for i in range(1)]), MESSAGE),
    "many headers": _opening(frame(HEADERS, 0, 1, header_block(grpc_headers(b"/\xff"))))
    + frame(CONTINUATION, 0, 1, header_block([(b"x", b"a" * 3000)] * 5)) * 20
    + frame(CONTINUATION, END_HEADERS, 1),
    "headers that do not end": _opening(frame(HEADERS, 0, 1, header_block(grpc_headers(b"/\xff")))),
    "headers that are not coded": _opening(frame(HEADERS, END_HEADERS, 1, b"\xff" * 100)),
    "continuation of nothing": _opening(frame(CONTINUATION, END_HEADERS, 1, b"\xff")),
    "data of no stream": _opening(frame(DATA, END_STREAM, 7, b"\xff")),
    "frame of no kind": _opening(frame(0xFF, 0xFF, 1, b"\xff")),
    "frame of no end": _opening(b"\xff\xff\xff" + bytes([DATA, 0]) + b"\0\0\0\1"),
    "stream that is taken back": call(grpc_headers(b"/\xff")) + frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    "call that is taken back": call(grpc_headers(COMPLETE), None) + frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    "other protocol": b"GET /\xff HTTP/1.1\r\nHost: \xff\r\n\r\n",
    "no bytes": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_request_ends_the_server(target: str, name: str) -> None:
    for _ in range(3):
        await exchange(target, HOSTILE[name], timeout_s=0.3)
    assert await answers(target)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.binary(max_size=200)), max_size=8),
    st.binary(max_size=60),
    st.binary(max_size=200),
)
def test_no_headers_and_bytes_end_the_server(
    codegemma: Tokenizer, headers: list[tuple[bytes, bytes]], path: bytes, body: bytes
) -> None:
    async def attack() -> None:
        async with ray_serves_server(one_model_service(ScriptedBackend(codegemma, "done"))) as target:
            for each in (COMPLETE, b"/" + path):
                await exchange(target, call(grpc_headers(each, *headers), body), timeout_s=0.05)
            assert await answers(target)

    asyncio.run(attack())


@pytest.mark.parametrize("path", [COMPLETE + b"\xff", COMPLETE + b"s", b"/", b"\xff"])
async def test_a_method_that_is_not_there_is_unimplemented_at_once(target: str, path: bytes) -> None:
    began = time.monotonic()
    assert grpc_status(await exchange(target, call(grpc_headers(path)), timeout_s=20)) == UNIMPLEMENTED
    assert time.monotonic() - began < 10, "it does not wait for somebody who takes it"


async def test_many_calls_of_no_method_are_all_unimplemented(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        missing: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/codegemma.v1.CodeAssistService/No"
        )

        async def code() -> grpc.StatusCode:
            try:
                await missing(b"", timeout=20)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert set(await asyncio.gather(*(code() for _ in range(300)))) == {grpc.StatusCode.UNIMPLEMENTED}
    assert await answers(target)


async def test_a_call_that_is_gone_before_it_is_taken_does_not_end_the_server(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    async def gone_at_first(server: Any, path: bytes) -> Any:
        taken.append(path)
        if len(taken) == 1:
            raise cygrpc._RequestCallError
        return await cygrpc.AioServer.__bases__[0]._request_registered_call(server, path)

    monkeypatch.setattr(grpc_server.HardenedServer, "_request_registered_call", gone_at_first, raising=False)
    assert await answers(target)  # takes the call that is waited for already, and then waits for the next
    assert await answers(target)
    assert len(taken) >= 2


MALFORMED = {
    "no message": call(grpc_headers(COMPLETE)),
    "half a message": call(grpc_headers(COMPLETE), MESSAGE[:-1]),
    "two messages": call(grpc_headers(COMPLETE), MESSAGE * 2),
    "three messages": call(grpc_headers(COMPLETE), MESSAGE * 3),
    "not a message": call(grpc_headers(COMPLETE), grpc_message(b"\xff\xff\xff\x01")),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_unary_request_that_is_not_one_message_is_malformed(
    target: str, backend: ScriptedBackend, name: str
) -> None:
    received = await exchange(target, MALFORMED[name], timeout_s=20)
    assert grpc_status(received) == INVALID_ARGUMENT
    assert b"The request is not " in received
    assert not backend.requests
    assert await answers(target)


@pytest.mark.parametrize(
    "path", [COMPLETE, b"/codegemma.v1.CodeAssistService/StreamChat", b"/grpc.health.v1.Health/Check"]
)
@pytest.mark.parametrize("body", [None, MESSAGE[:3], MESSAGE[:-1]], ids=["nothing", "half a length", "half a message"])
async def test_a_unary_request_whose_message_does_not_come_ends(
    target: str, monkeypatch: pytest.MonkeyPatch, path: bytes, body: bytes | None
) -> None:
    monkeypatch.setattr(grpc_server, "MESSAGE_TIMEOUT_S", 0.1)
    received = await exchange(target, call(grpc_headers(path), body, ends=False), timeout_s=20)
    assert grpc_status(received) == INVALID_ARGUMENT
    assert b"within 0.1 s" in received
    assert await answers(target)


async def test_of_too_many_calls_whose_message_does_not_come_the_oldest_ends(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "MAX_WAITING", 1)
    monkeypatch.setattr(grpc_server, "MESSAGE_TIMEOUT_S", 1000)
    async with ray_serves_server(one_model_service(backend)) as target:
        first = asyncio.create_task(exchange(target, call(grpc_headers(COMPLETE), None), timeout_s=20))
        while not first.done():
            await exchange(target, call(grpc_headers(COMPLETE), None), timeout_s=0.1)
        assert grpc_status(await first) == RESOURCE_EXHAUSTED
        assert b"More than 1 calls wait for their message" in await first
        assert await answers(target)


async def test_a_stream_of_requests_that_does_not_go_on_ends(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.grpc.standard.MESSAGE_TIMEOUT_S", 0.1)
    path = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    assert grpc_status(await exchange(target, call(grpc_headers(path), None), timeout_s=20)) == 0


@pytest.fixture
async def locked_target(backend: ScriptedBackend, tmp_path: Path) -> AsyncIterator[str]:
    KeyFile().write(tmp_path / "keys.yaml")
    service = one_model_service(backend)
    service.access = BearerAccess(tmp_path / "keys.yaml")
    async with ray_serves_server(service) as target:
        yield target


@pytest.mark.parametrize("name", MALFORMED)
async def test_who_has_no_key_does_not_learn_what_is_wrong_with_a_message(locked_target: str, name: str) -> None:
    received = await exchange(locked_target, MALFORMED[name], timeout_s=20)
    assert grpc_status(received) == UNAUTHENTICATED


async def test_a_message_over_the_limit_is_refused_before_it_comes(target: str) -> None:
    announced = b"\0" + (2_000_000_000).to_bytes(4, "big")
    received = await exchange(target, call(grpc_headers(COMPLETE), announced + b"a", ends=False), timeout_s=20)
    assert grpc_status(received) == RESOURCE_EXHAUSTED
    assert str(LIMIT).encode() in received
    assert await answers(target)


async def test_answers_have_no_limit(target: str, backend: ScriptedBackend) -> None:
    backend.text = "a" * (LIMIT + 1)
    async with grpc.aio.insecure_channel(target) as channel:
        request = pb.CompleteRequest(prompt="p", generation_config={"max_tokens": 500})
        text = (await CodeAssistServiceStub(channel).Complete(request, timeout=20)).choices[0].text
    assert text
    assert set(text) == {"a"}


async def test_a_compressed_message_is_refused_whatever_it_would_be(target: str, backend: ScriptedBackend) -> None:
    bomb = gzip.compress(b"a" * 20_000_000)
    assert len(bomb) < LIMIT
    headers = grpc_headers(COMPLETE, (b"grpc-encoding", b"gzip"))
    before = psutil.Process().memory_info().rss
    body = grpc_message(bomb, compressed=True)[:16000]  # what fits one frame
    received = await exchange(target, call(headers, body, ends=False), timeout_s=20)
    assert grpc_status(received) == UNIMPLEMENTED
    assert psutil.Process().memory_info().rss - before < 10_000_000
    assert not backend.requests


async def test_metadata_does_not_steer_ray_serve(target: str) -> None:
    metadata = (("application", "another"), ("multiplexed_model_id", "another"))
    async with grpc.aio.insecure_channel(target) as channel:
        answer = await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="p"), metadata=metadata)
    assert answer.choices[0].text == "done", "the handler would have failed"


@pytest.mark.parametrize("key", ["request_id", "x-request-id"])
async def test_a_request_id_of_the_metadata_names_the_call_and_not_ray_serves(target: str, key: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        call = CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="p"), metadata=((key, "mine"),))
        assert (await call).request_id == "mine"
        trailing = dict(await call.trailing_metadata())
    assert (trailing["x-request-id"], trailing["request_id"]) == ("mine", "drawn")


@pytest.mark.parametrize("key", [b"request_id", b"x-request-id"])
@pytest.mark.parametrize("value", [b"\xff\xfe", b"two words", "naïve".encode(), b"a" * 129])
async def test_a_request_id_that_no_answer_can_carry_is_replaced(target: str, key: bytes, value: bytes) -> None:
    received = await exchange(target, call(grpc_headers(COMPLETE, (key, value)), MESSAGE), timeout_s=20)
    assert grpc_status(received) == OK
    assert value not in received
    assert await answers(target)


async def test_metadata_that_is_not_utf8_is_not_logged(target: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        headers = grpc_headers(COMPLETE, (b"authorization", b"Bearer s3cret\xff"), (b"x-s3cret\xff", b"1"))
        await exchange(target, call(headers, MESSAGE), timeout_s=20)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(("node", "loopback"), [("127.0.0.1", True), ("10.0.0.5", False)])
async def test_the_server_listens_where_its_node_does(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, node: str, loopback: bool
) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: node)
    async with ray_serves_server(one_model_service(backend)) as target:
        port = int(target.rpartition(":")[2])
        connections = psutil.Process().net_connections("tcp")
        [listening] = [
            each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port == port
        ]
        assert (listening.removeprefix("::ffff:") == "127.0.0.1") is loopback
        assert await answers(target)


async def test_rays_token_is_asked_for_before_a_call_between_replicas_is_unpickled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every replica has a server for these, on every interface if Ray is not on loopback; its messages are pickles."""
    grpc_server.harden()
    monkeypatch.setattr(authentication_utils, "is_token_auth_enabled", lambda: True)
    monkeypatch.setattr(grpc_authentication_server_interceptor, "is_token_auth_enabled", lambda: True)
    calls = []

    class Replica(ASGIServiceServicer):
        async def HandleRequest(self, request: ASGIRequest, context: object) -> ASGIResponse:  # noqa: N802
            calls.append(request)
            return ASGIResponse()

    server = create_grpc_server_with_interceptors(asynchronous=True)
    add_ASGIServiceServicer_to_server(Replica(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        path = b"/ray.serve.ASGIService/HandleRequest"
        assert grpc_status(await exchange(address, call(grpc_headers(path), grpc_message(b"")))) == UNAUTHENTICATED
    finally:
        await server.stop(None)
    assert not calls
