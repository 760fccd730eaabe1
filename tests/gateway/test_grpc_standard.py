"""Health checks and reflection, as the clients of others use them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import (  # type: ignore[attr-defined] # the type stubs do not know List yet
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
)
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from serving.config import GatewayConfig, Role
from serving.gateway.access import OpenAccess
from serving.gateway.grpc import standard
from serving.gateway.grpc.service import GrpcService
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.call_context import CallContext
from tests.gateway.grpc_server import grpc_server, health_stub, reflection_stub
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service, served_model

type Reflection = grpc.aio.StreamStreamCall[ServerReflectionRequest, ServerReflectionResponse]
type Reflect = grpc.aio.StreamStreamMultiCallable[ServerReflectionRequest, ServerReflectionResponse]

SERVICES = [
    "codegemma.v1.CodeAssistService",
    "codegemma.v1.FeedbackService",
    "codegemma.v1.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
]


@pytest.fixture
async def target(codegemma: Tokenizer) -> AsyncIterator[str]:
    async with grpc_server(one_model_service(ScriptedBackend(codegemma, "return a + b"))) as target:
        yield target


@pytest.fixture
async def channel(target: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield channel


@pytest.mark.parametrize("name", ["", *SERVICES])
async def test_every_service_and_the_server_as_a_whole_serve(channel: grpc.aio.Channel, name: str) -> None:
    answer = await health_stub(channel).Check(HealthCheckRequest(service=name))
    assert answer.status == HealthCheckResponse.SERVING


async def test_nothing_serves_while_no_group_answers(codegemma: Tokenizer) -> None:
    backend = ScriptedBackend(codegemma)
    backend.answers = False
    async with grpc_server(one_model_service(backend)) as target, grpc.aio.insecure_channel(target) as channel:
        answer = await health_stub(channel).Check(HealthCheckRequest())
    assert answer.status == HealthCheckResponse.NOT_SERVING


async def test_all_serve_while_one_model_answers_once_all_have(codegemma: Tokenizer) -> None:
    backends = [ScriptedBackend(codegemma) for _ in range(2)]
    models = [served_model(backends[0], "fim-model", Role.FIM), served_model(backends[1], "chat-model", Role.CHAT)]
    service = CodeService(models, GatewayConfig(), access=OpenAccess())
    async with grpc_server(service) as target, grpc.aio.insecure_channel(target) as channel:
        said = []
        for answering in ((True, False), (True, True), (True, False), (False, False)):
            backends[0].answers, backends[1].answers = answering
            said.append((await health_stub(channel).Check(HealthCheckRequest())).status)
    serving, not_serving = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
    assert said == [not_serving, serving, serving, not_serving]


async def test_checking_a_service_that_is_not_there_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await health_stub(channel).Check(HealthCheckRequest(service="codegemma.v2.Nothing"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_lists_every_service(channel: grpc.aio.Channel) -> None:
    statuses = (await health_stub(channel).List(HealthListRequest())).statuses
    assert sorted(statuses) == ["", *SERVICES]
    assert {answer.status for answer in statuses.values()} == {HealthCheckResponse.SERVING}


@pytest.mark.parametrize(
    ("name", "status"),
    [("", HealthCheckResponse.SERVING), ("codegemma.v2.Nothing", HealthCheckResponse.SERVICE_UNKNOWN)],
)
async def test_watching_tells_the_status_and_stays_open_until_the_client_leaves(
    channel: grpc.aio.Channel, name: str, status: int
) -> None:
    call = health_stub(channel).Watch(HealthCheckRequest(service=name))
    assert (await call.read()).status == status
    assert not call.done()
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_streams_that_need_no_key_do_not_take_the_places_of_requests(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard, "_MAX_STREAMS", 1)
    reflection = reflection_stub(channel)
    reflecting = reflection.ServerReflectionInfo()
    await reflecting.write(ServerReflectionRequest(list_services=""))
    assert (await reflecting.read()).list_services_response.service
    assert await _refused(reflection.ServerReflectionInfo()) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await health_stub(channel).Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
    await reflecting.done_writing()
    assert await reflecting.code() is grpc.StatusCode.OK


async def test_streams_whose_clients_read_nothing_are_no_more_than_there_are_places(
    codegemma: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a stream waits in `yield`, where nothing can end it."""
    monkeypatch.setattr(standard, "_MAX_STREAMS", 2)
    service = GrpcService(one_model_service(ScriptedBackend(codegemma)), GatewayConfig())
    streams = [service.Watch(b"", CallContext()) for _ in range(2 * standard._MAX_STREAMS)]
    for each in streams:
        assert (await anext(each)).status == HealthCheckResponse.SERVING
    refused = CallContext()
    assert await anext(service.Watch(b"", refused)) == HealthCheckResponse()
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for each in streams:
        await each.aclose()
    again = service.Watch(b"", CallContext())
    assert (await anext(again)).status == HealthCheckResponse.SERVING
    await again.aclose()


async def test_streams_that_watch_for_ever_keep_nobody_out(
    codegemma: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard, "_MAX_STREAMS", 1)
    monkeypatch.setattr(standard, "_WATCH_PERIOD_S", 1000)
    service = one_model_service(ScriptedBackend(codegemma))
    async with grpc_server(service) as target, grpc.aio.insecure_channel(target) as channel:
        streams = [health_stub(channel).Watch(HealthCheckRequest()) for _ in range(2)]
        for each in streams:
            assert (await each.read()).status == HealthCheckResponse.SERVING
        ends = {asyncio.create_task(_refused(each)) for each in streams}
        [ended], [open_still] = await asyncio.wait(ends, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert ended.result() is grpc.StatusCode.RESOURCE_EXHAUSTED
        open_still.cancel()


async def _refused(stream: Any) -> grpc.StatusCode:
    """The code of a stream that the server ends with an error, whatever came before."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        while await stream.read():
            pass
    return raised.value.code()


def call_by_reflection_alone(target: str) -> Any:
    """What a client does that has no .proto file: all it knows is the names of a service and of a method."""
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == SERVICES
        service = DescriptorPool(database).FindServiceByName("codegemma.v1.CodeAssistService")
        method = service.FindMethodByName("Complete")
        request: Any = GetMessageClass(method.input_type)()
        request.fim.prefix = "def add(a, b):"
        request.timeout.seconds = 5
        complete: grpc.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return complete(request)


async def test_a_client_that_knows_nothing_but_reflection_can_complete(target: str) -> None:
    answer = await asyncio.to_thread(call_by_reflection_alone, target)
    assert [choice.text for choice in answer.choices] == ["return a + b"]
    assert answer.model == "codegemma-test"


@pytest.mark.parametrize("service", SERVICES)
async def test_each_listed_service_is_described(channel: grpc.aio.Channel, service: str) -> None:
    call = reflection_stub(channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(file_containing_symbol=service))
    answer = await call.read()
    await call.done_writing()
    assert answer.file_descriptor_response.file_descriptor_proto
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("name", ["google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.RetryInfo"])
async def test_what_an_error_holds_is_described(channel: grpc.aio.Channel, name: str) -> None:
    call = reflection_stub(channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(file_containing_symbol=name))
    answer = await call.read()
    await call.done_writing()
    assert answer.file_descriptor_response.file_descriptor_proto


async def _next(call: Reflection) -> ServerReflectionResponse:
    answer = await call.read()
    assert isinstance(answer, ServerReflectionResponse)
    return answer


async def test_version_1_of_reflection_answers_in_the_messages_of_v1alpha_under_its_own_name(
    channel: grpc.aio.Channel,
) -> None:
    reflect: Reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    call = reflect()
    await call.write(ServerReflectionRequest(list_services=""))
    listed = (await _next(call)).list_services_response.service
    assert sorted(service.name for service in listed) == SERVICES
    await call.write(ServerReflectionRequest(file_containing_symbol="grpc.reflection.v1.ServerReflectionRequest"))
    (data,) = (await _next(call)).file_descriptor_response.file_descriptor_proto
    file = FileDescriptorProto.FromString(data)
    assert (file.name, file.package) == ("grpc_reflection/v1/reflection.proto", "grpc.reflection.v1")
    assert file.service[0].method[0].input_type == ".grpc.reflection.v1.ServerReflectionRequest"
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


async def test_reflection_tells_nothing_of_files_that_clients_do_not_need(channel: grpc.aio.Channel) -> None:
    call = reflection_stub(channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(file_containing_symbol="ray.serve.ServeResponse"))
    answer = await call.read()
    await call.done_writing()
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert await call.code() is grpc.StatusCode.OK


async def test_a_malformed_reflection_request_ends_the_stream_with_invalid_argument(channel: grpc.aio.Channel) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    reflect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path, response_deserializer=bytes)
    call = reflect()
    await call.write(b"\xff\xff\xff\x01")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in call:
            pass
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["Check", "List", "Watch"])
async def test_a_message_larger_than_any_name_is_refused_before_it_is_looked_at(
    channel: grpc.aio.Channel, method: str
) -> None:
    ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
        f"/grpc.health.v1.Health/{method}", response_deserializer=bytes
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in ask(b"\x78\x00" * 2049, timeout=20):  # fields that nobody knows
            pass
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_large_reflection_request_is_refused_before_it_is_looked_at(channel: grpc.aio.Channel) -> None:
    call = reflection_stub(channel).ServerReflectionInfo(timeout=20)
    await call.write(ServerReflectionRequest(file_containing_symbol="a" * 5000))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in call:
            pass
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
