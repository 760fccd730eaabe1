"""Errors over gRPC: code, message and details, and what never leaves the process."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from serving.errors import WIRE_ERRORS, FieldError, Reason, ServingError
from serving.gateway.grpc.service import GrpcService
from serving.gateway.request import CodeRequest
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.call_context import CallContext
from tests.gateway.grpc_server import CONFIG, failure, fields_at_fault, grpc_server, status_of
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

USER = ChatMessage(role=ChatMessage.ROLE_USER, text="hi")
CALLS: dict[str, Callable[[CodeAssistServiceStub], Any]] = {
    "Complete": lambda code: code.Complete(pb.CompleteRequest(prompt="p")),
    "StreamComplete": lambda code: code.StreamComplete(pb.StreamCompleteRequest(prompt="p")),
    "Chat": lambda code: code.Chat(pb.ChatRequest(messages=[USER])),
    "StreamChat": lambda code: code.StreamChat(pb.StreamChatRequest(messages=[USER])),
}


@pytest.fixture
def backend(codegemma: Tokenizer) -> ScriptedBackend:
    return ScriptedBackend(codegemma, "done")


@pytest.fixture
def service(backend: ScriptedBackend) -> CodeService:
    return one_model_service(backend)


@pytest.fixture
async def channel(service: CodeService) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc_server(service) as target, grpc.aio.insecure_channel(target) as channel:
        yield channel


@pytest.fixture
def code(channel: grpc.aio.Channel) -> CodeAssistServiceStub:
    return CodeAssistServiceStub(channel)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"generation_config": {"temperature": -1}}, "generation_config.temperature"),
        ({"generation_config": {"top_p": float("nan")}}, "generation_config.top_p"),
        ({"generation_config": {"max_tokens": -1}}, "generation_config.max_tokens"),
        ({"generation_config": {"choices": 2**31 - 1}}, "generation_config.choices"),
        ({"generation_config": {"stop_sequences": ["a"] * 65}}, "generation_config.stop_sequences"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "word " * 600}, "prompt"),
        ({"fim": {}}, "fim.prefix"),
        ({"token_ids": {}}, "token_ids"),
        ({"timeout": {"seconds": -1}}, "timeout"),
    ],
)
async def test_a_field_out_of_range_is_refused_by_its_path_in_the_message(
    backend: ScriptedBackend, code: CodeAssistServiceStub, request_fields: dict[str, Any], field: str
) -> None:
    call = code.StreamComplete(pb.StreamCompleteRequest(**({"prompt": "p"} | request_fields)))
    error, details = await failure(call)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(details) == [field]
    assert field in (error.details() or "")
    assert not backend.requests


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("method", CALLS)
async def test_a_serving_error_becomes_its_code_with_details(
    backend: ScriptedBackend, code: CodeAssistServiceStub, method: str, reason: Reason
) -> None:
    backend.error = ServingError(reason, "It failed. Try again.", retry_after_s=2.5)
    error, details = await failure(CALLS[method](code))
    assert error.code() is WIRE_ERRORS[reason].grpc_code
    assert error.details() == "It failed. Try again."
    assert (details[ErrorInfo].reason, details[ErrorInfo].domain) == (reason.name, "codegemma.v1")
    assert BadRequest not in details
    assert (RetryInfo in details) == WIRE_ERRORS[reason].retryable
    if RetryInfo in details:
        assert details[RetryInfo].retry_delay == Duration(seconds=2, nanos=500_000_000)


@pytest.mark.parametrize("method", CALLS)
async def test_the_error_of_a_field_names_its_path_in_the_message(
    backend: ScriptedBackend, code: CodeAssistServiceStub, method: str
) -> None:
    backend.error = FieldError(Reason.INVALID_ARGUMENT, "stop", "is empty. Leave it out.", "[1]")
    error, details = await failure(CALLS[method](code))
    assert error.details() == "generation_config.stop_sequences[1] is empty. Leave it out."
    [violation] = details[BadRequest].field_violations
    assert violation.field == "generation_config.stop_sequences[1]"
    assert violation.description == error.details()


async def test_an_error_in_the_middle_of_a_stream_follows_the_text_so_far(
    backend: ScriptedBackend, code: CodeAssistServiceStub
) -> None:
    backend.text = "so far"
    backend.error = ServingError(Reason.UNAVAILABLE, "The group was lost. Try again.")
    texts = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for part in code.StreamComplete(pb.StreamCompleteRequest(prompt="p")):
            texts.append(part.choice.text)
    assert "".join(texts) == "so far"
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert status_of(raised.value).message == "The group was lost. Try again."


async def test_a_failed_stream_has_its_status_before_its_last_message(
    service: CodeService, backend: ScriptedBackend
) -> None:
    """Ray Serve's proxy gets the call's context with each message, and what is set after the last one is lost."""

    backend.error = ServingError(Reason.UNAVAILABLE, "The group was lost. Try again.")
    context = CallContext()
    stream = GrpcService(service, CONFIG).StreamComplete(
        pb.StreamCompleteRequest(prompt="p").SerializeToString(), context
    )
    codes = [(part.choice.text, context.code) async for part in stream]
    assert codes == [("done", None), ("", grpc.StatusCode.UNAVAILABLE)]


@pytest.mark.parametrize("method", CALLS)
async def test_any_other_exception_is_internal_says_nothing_of_itself_and_is_logged(
    service: CodeService,
    code: CodeAssistServiceStub,
    method: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(request: CodeRequest) -> None:
        raise RuntimeError("secret of /srv/app.py")

    monkeypatch.setattr(service, "generate", broken)
    error, details = await failure(CALLS[method](code))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert details[ErrorInfo].reason == "INTERNAL"
    assert "secret" not in repr(error)
    request_id = dict(error.trailing_metadata())["x-request-id"]
    assert request_id in (error.details() or "")
    [record] = [record for record in caplog.records if record.name == "ray.serve.gateway"]
    assert request_id in record.getMessage()
    assert record.exc_info
    assert "secret" in str(record.exc_info[1])


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\U0001f600" * 1_000_000], ids=["ascii", "emoji"])
async def test_a_long_message_is_cut_so_that_it_fits_the_metadata(
    backend: ScriptedBackend, code: CodeAssistServiceStub, text: str
) -> None:
    backend.error = ServingError(Reason.MODEL_NOT_FOUND, text)
    error, _ = await failure(code.Complete(pb.CompleteRequest(prompt="p")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    said = error.details() or ""
    assert len(said.encode()) == 1024
    assert text.startswith(said)


async def test_a_message_over_the_limit_is_refused(backend: ScriptedBackend, code: CodeAssistServiceStub) -> None:
    prompt = "a" * 100_000
    calls = (
        code.Complete(pb.CompleteRequest(prompt=prompt)),
        code.StreamComplete(pb.StreamCompleteRequest(prompt=prompt)),
        code.CountTokens(pb.CountTokensRequest(prompt=prompt)),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
        assert raised.value.code() is WIRE_ERRORS[Reason.BODY_TOO_LARGE].grpc_code
        assert "100000" in (raised.value.details() or ""), "the limit"
    assert not backend.requests


async def test_a_message_over_the_limit_is_refused_too_if_ray_serves_proxy_passed_it_on(
    service: CodeService, backend: ScriptedBackend
) -> None:
    context = CallContext()
    await GrpcService(service, CONFIG).Complete(pb.CompleteRequest(prompt="a" * 100_000).SerializeToString(), context)
    assert context.code is WIRE_ERRORS[Reason.BODY_TOO_LARGE].grpc_code
    assert "100000" in context.details
    assert not backend.requests


@pytest.mark.parametrize("bad", ["two words", "é", "line\nbreak", "x" * 129, "reason=ok", '"}', "\x1b[2J"])
async def test_a_request_id_that_is_not_one_plain_word_is_refused(
    backend: ScriptedBackend, code: CodeAssistServiceStub, bad: str
) -> None:
    error, details = await failure(code.Complete(pb.CompleteRequest(prompt="p", request_id=bad)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(details) == ["request_id"]
    assert not backend.requests


MALFORMED = {
    "not protobuf": b"\xff\xff\xff\x01",
    "truncated": b"\x0a\x05abc",  # five bytes announced for field 1, `model`
    "invalid UTF-8": b"\x0a\x02\xff\xfe",  # in field 1, `model`
}
METHODS = ["CodeAssistService/Complete", "CodeAssistService/CountTokens", "ModelService/GetModel"]


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_not_a_message_are_refused_and_the_server_goes_on(
    channel: grpc.aio.Channel, code: CodeAssistServiceStub, method: str, name: str
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/codegemma.v1.{method}", response_deserializer=bytes
    )
    error, details = await failure(call(MALFORMED[name]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details[ErrorInfo].reason == "MALFORMED_BODY"
    assert BadRequest not in details
    assert (await code.Complete(pb.CompleteRequest(prompt="p"))).choices


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_stream_refuses_bytes_that_are_not_a_message(channel: grpc.aio.Channel, name: str) -> None:
    path = "/codegemma.v1.CodeAssistService/StreamChat"
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path, response_deserializer=bytes)
    error, details = await failure(call(MALFORMED[name]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details[ErrorInfo].reason == "MALFORMED_BODY"
