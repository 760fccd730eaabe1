"""The gRPC methods behind a real server on loopback, called through the committed stubs."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_UNSPECIFIED,
    GenerationConfig,
    Usage,
)
from codegemma.v1.model_pb2 import FIM_SUPPORT_NATIVE, FIM_SUPPORT_NONE
from codegemma.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo

from serving.config import GatewayConfig, Role
from serving.engine.request import FinishReason, GenerationChunk
from serving.gateway.access import OpenAccess
from serving.gateway.grpc.service import GrpcService
from serving.gateway.request import CodeRequest, End, FimPrompt, Piece
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.call_context import CallContext
from tests.gateway.grpc_server import CONFIG, failure, fields_at_fault, grpc_server
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, served_model

type Metadata = tuple[tuple[str, str], ...]

ROOT = Path(__file__).parents[2]


class RecordingService(CodeService):
    """The real service; remembers what it was asked."""

    def __init__(self, models: Sequence[ServedModel], config: GatewayConfig) -> None:
        super().__init__(models, config, access=OpenAccess())
        self.requests: list[CodeRequest] = []

    def generate(self, *requests: CodeRequest) -> AsyncGenerator[Piece | End]:
        self.requests += requests
        return super().generate(*requests)


@pytest.fixture
def backend(codegemma: Tokenizer) -> ScriptedBackend:
    return ScriptedBackend(codegemma, "done")


@pytest.fixture
def service(backend: ScriptedBackend) -> RecordingService:
    fim = served_model(backend, "fim-model", Role.FIM, aliases=("fim",))
    return RecordingService([fim, served_model(backend, "chat-model", Role.CHAT)], CONFIG)


@pytest.fixture
async def target(service: RecordingService) -> AsyncIterator[str]:
    async with grpc_server(service) as target:
        yield target


@pytest.fixture
async def channel(target: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield channel


@pytest.fixture
def code(channel: grpc.aio.Channel) -> CodeAssistServiceStub:
    return CodeAssistServiceStub(channel)


def user(text: str) -> ChatMessage:
    return ChatMessage(role=ChatMessage.ROLE_USER, text=text)


async def test_complete_answers_with_every_choice_and_the_usage(
    service: RecordingService, backend: ScriptedBackend, code: CodeAssistServiceStub, codegemma: Tokenizer
) -> None:
    backend.text = "return x"
    backend.end = GenerationChunk(finish_reason=FinishReason.LENGTH, cached_tokens=2)
    answer = await code.Complete(
        pb.CompleteRequest(
            model="fim",
            fim=FimInput(prefix="def f(x): ", suffix="\n", path="a.py"),
            generation_config=GenerationConfig(choices=2, max_tokens=20, seed=7, temperature=0.5),
            timeout=Duration(seconds=2, nanos=500_000_000),
            session_id="file-1",
            request_id="req-1",
        )
    )
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
        (0, "return x", FINISH_REASON_LENGTH),
        (1, "return x", FINISH_REASON_LENGTH),
    ]
    prompt_tokens = len(backend.requests[0].prompt_ids)
    completion_tokens = 2 * len(codegemma.encode("return x"))
    assert answer.usage == Usage(prompt_tokens=prompt_tokens, cached_tokens=2, completion_tokens=completion_tokens)
    assert (answer.model, answer.request_id) == ("fim-model", "req-1")
    [asked] = service.requests
    assert asked.prompt == FimPrompt(prefix="def f(x): ", suffix="\n", path="a.py", may_be_cut=True)
    assert (asked.timeout_s, asked.session_id, asked.request_id) == (2.5, "file-1", "req-1")
    assert sorted(request.sampling.seed for request in backend.requests) == [7, 8]
    assert {(request.max_tokens, request.sampling.temperature) for request in backend.requests} == {(20, 0.5)}


async def test_a_stream_sends_each_piece_and_ends_with_finish_reason_and_usage_in_one_message(
    backend: ScriptedBackend, code: CodeAssistServiceStub
) -> None:
    backend.text = "one two three"
    parts = [part async for part in code.StreamComplete(pb.StreamCompleteRequest(prompt="p", request_id="r"))]
    assert "".join(part.choice.text for part in parts) == "one two three"
    assert parts[0].choice.text == "one", "the first piece does not wait for the next"
    assert [part.HasField("usage") for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [part.choice.finish_reason for part in parts[:-1]] == [FINISH_REASON_UNSPECIFIED] * (len(parts) - 1)
    assert parts[-1].choice.finish_reason == FINISH_REASON_STOP
    assert parts[-1].usage.completion_tokens == 3
    assert {(part.model, part.request_id) for part in parts} == {("fim-model", "r")}


async def test_a_stream_of_several_choices_ends_each_of_them_once(code: CodeAssistServiceStub) -> None:
    config = GenerationConfig(choices=3)
    request = pb.StreamCompleteRequest(prompt="p", generation_config=config)
    parts = [part async for part in code.StreamComplete(request)]
    ended = [part.choice.index for part in parts if part.choice.finish_reason == FINISH_REASON_STOP]
    assert sorted(ended) == [0, 1, 2]
    for index in range(3):
        assert "".join(part.choice.text for part in parts if part.choice.index == index) == "done"
    assert [part.HasField("usage") for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_chat_answers_whole_and_as_a_stream(service: RecordingService, code: CodeAssistServiceStub) -> None:
    messages = [ChatMessage(role=ChatMessage.ROLE_SYSTEM, text="Be brief."), user("hi")]
    whole = await code.Chat(pb.ChatRequest(messages=messages))
    parts = [part async for part in code.StreamChat(pb.StreamChatRequest(messages=messages))]
    assert (whole.choices[0].text, whole.model) == ("done", "chat-model")
    assert ("".join(part.choice.text for part in parts), parts[0].model) == ("done", "chat-model")
    assert service.requests[0].prompt == service.requests[1].prompt


async def test_tokens_of_every_kind_of_prompt_are_counted(code: CodeAssistServiceStub, codegemma: Tokenizer) -> None:
    async def count(**fields: Any) -> tuple[int, str]:
        answer = await code.CountTokens(pb.CountTokensRequest(**fields))
        return answer.tokens, answer.model

    words = len(codegemma.encode("def f(x):"))
    assert await count(prompt="def f(x):") == (1 + words, "fim-model"), "BOS included"
    assert await count(fim={"prefix": "def f(x):"}) == (4 + words, "fim-model"), "BOS and three FIM tokens included"
    assert await count(token_ids={"ids": [5, 6]}) == (2, "fim-model")
    tokens, model = await count(chat={"messages": [user("def f(x):")]})
    assert tokens > words
    assert model == "chat-model"
    assert await count(prompt="def f(x):", model="chat-model") == (1 + words, "chat-model")


async def test_models_are_listed_and_found_by_id_and_alias(channel: grpc.aio.Channel) -> None:
    models = ModelServiceStub(channel)
    listed = (await models.ListModels(ListModelsRequest())).models
    assert [(model.id, model.fim_support, model.context_length) for model in listed] == [
        ("fim-model", FIM_SUPPORT_NATIVE, MAX_CONTEXT),
        ("chat-model", FIM_SUPPORT_NONE, MAX_CONTEXT),
    ]
    assert (await models.GetModel(GetModelRequest(model="fim"))).model == listed[0]
    error, details = await failure(models.GetModel(GetModelRequest(model="gpt")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert details[ErrorInfo].reason == "MODEL_NOT_FOUND"
    error, details = await failure(models.GetModel(GetModelRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(details) == ["model"]


CALLS: dict[str, Callable[[CodeAssistServiceStub], Any]] = {
    "Complete": lambda code: code.Complete(pb.CompleteRequest(prompt="p")),
    "StreamComplete": lambda code: code.StreamComplete(pb.StreamCompleteRequest(prompt="p")),
    "Chat": lambda code: code.Chat(pb.ChatRequest(messages=[user("hi")])),
    "StreamChat": lambda code: code.StreamChat(pb.StreamChatRequest(messages=[user("hi")])),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("pause_at", [0, 1], ids=["before any text", "amid the text"])
async def test_cancelling_a_call_ends_its_generation(
    backend: ScriptedBackend, code: CodeAssistServiceStub, method: str, pause_at: int
) -> None:
    backend.pause_at = pause_at
    call = CALLS[method](code)
    reading = asyncio.ensure_future(anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    async with asyncio.timeout(10):
        await backend.paused.wait()
        assert backend.running == 1
        call.cancel()
        await backend.idle.wait()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def test_the_deadline_of_a_call_ends_its_generation(
    backend: ScriptedBackend, code: CodeAssistServiceStub
) -> None:
    backend.pause_at = 0
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await code.Complete(pb.CompleteRequest(prompt="p"), timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        await backend.idle.wait()


async def test_the_timeout_of_a_message_ends_its_generation(
    backend: ScriptedBackend, code: CodeAssistServiceStub
) -> None:
    backend.pause_at = 0
    error, details = await failure(code.Chat(pb.ChatRequest(messages=[user("hi")], timeout=Duration(nanos=10**8))))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details[ErrorInfo].reason == "DEADLINE_EXCEEDED"
    assert backend.running == 0


async def test_closing_the_method_amid_a_message_ends_its_generation(
    service: RecordingService, backend: ScriptedBackend
) -> None:
    backend.pause_at = 1
    method = GrpcService(service, CONFIG).StreamComplete(
        pb.StreamCompleteRequest(prompt="p").SerializeToString(), CallContext()
    )
    assert (await anext(method)).choice.text
    assert backend.running == 1
    await method.aclose()
    assert backend.running == 0


async def test_the_request_id_comes_from_the_message_or_the_metadata_or_is_made_and_is_returned(
    service: RecordingService, code: CodeAssistServiceStub
) -> None:
    async def ids(metadata: Metadata = (), **fields: Any) -> str:
        call = code.Complete(pb.CompleteRequest(prompt="p", **fields), metadata=metadata)
        answer = await call
        returned: str = dict(await call.trailing_metadata())["x-request-id"]
        assert returned == answer.request_id == service.requests[-1].request_id
        return returned

    both = (("request_id", "from-request-id"), ("x-request-id", "from-x-request-id"))
    assert await ids(metadata=both, request_id="from-message") == "from-message"
    assert await ids(metadata=both) == "from-x-request-id"
    assert await ids(metadata=both[:1]) == "from-request-id"
    made = {await ids() for _ in range(3)}
    assert len(made) == 3


async def test_the_session_id_comes_from_the_message_or_the_metadata(
    service: RecordingService, code: CodeAssistServiceStub
) -> None:
    async def session_id(metadata: Metadata = (), **fields: Any) -> str:
        await code.Complete(pb.CompleteRequest(prompt="p", **fields), metadata=metadata)
        return service.requests[-1].session_id

    both = (("session_id", "b"), ("x-session-id", "a"))
    assert await session_id(metadata=both, session_id="c") == "c"
    assert await session_id(metadata=both) == "a"
    assert await session_id(metadata=both[:1]) == "b"
    assert await session_id() == ""


@pytest.mark.parametrize("more", [b"\xfa\x01\x01x", b"\x08\x01"], ids=["a new field", "a known field as a number"])
async def test_what_protobuf_takes_for_an_unknown_field_is_ignored(channel: grpc.aio.Channel, more: bytes) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, pb.CompleteResponse] = channel.unary_unary(
        "/codegemma.v1.CodeAssistService/Complete", response_deserializer=pb.CompleteResponse.FromString
    )
    assert (await call(pb.CompleteRequest(prompt="p").SerializeToString() + more)).choices[0].text == "done"


async def test_the_example_prints_the_completion(backend: ScriptedBackend, target: str) -> None:
    backend.text = "return n"
    python_path = os.pathsep.join([str(ROOT / "protos"), os.environ.get("PYTHONPATH", "")])
    example = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "grpc_complete.py"),
        target,
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await example.communicate()
    assert example.returncode == 0
    assert printed.decode() == "return n\n"
