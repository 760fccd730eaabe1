"""gRPC messages: what would become too many objects is refused before it is parsed, however it is written."""

import itertools
import tracemalloc
from collections.abc import AsyncIterator

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import ChatMessage, ContextFile, FimInput, TokenIds
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.errors import ServingError
from serving.gateway.grpc import wire_limits
from serving.gateway.grpc.wire_limits import MAX_FIELDS, check_fields
from tests.gateway.grpc_server import failure, fields_at_fault, grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

GROUP, END_GROUP = b"\xfb\x3f", b"\xfc\x3f"
"""The tags around a group in an unknown field."""

texts = st.text(max_size=3)
fims = st.builds(
    FimInput, prefix=texts, context_files=st.lists(st.builds(ContextFile, path=texts, text=texts), max_size=4)
)
configs = st.builds(
    GenerationConfig,
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(0, 2**40),
    stop_sequences=st.lists(texts, max_size=4),
)
token_ids = st.builds(TokenIds, ids=st.lists(st.integers(0, 2**31 - 1), max_size=5))
requests: st.SearchStrategy[Message] = st.one_of(
    st.builds(pb.CompleteRequest, fim=fims, generation_config=st.none() | configs),
    st.builds(pb.CompleteRequest, token_ids=token_ids, model=texts),
    st.builds(
        pb.ChatRequest, messages=st.lists(st.builds(ChatMessage, role=st.integers(0, 3), text=texts), max_size=4)
    ),
)


def fields_of(message: Message) -> int:
    """How many fields a message is written with, those of its messages included."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            inner = value if field.is_repeated else [value]
            count += sum(1 + fields_of(each) for each in inner)
        else:
            count += len(value) if field.is_repeated and field.type == field.TYPE_STRING else 1
    return count


def counted(data: bytes, kind: type[Message]) -> int:
    """How many fields `check_fields` comes across."""
    with pytest.MonkeyPatch.context() as patched:
        for limit in itertools.count():
            patched.setattr(wire_limits, "MAX_FIELDS", limit)
            try:
                check_fields(data, kind)
            except ServingError:
                continue
            return limit
    raise AssertionError


@settings(deadline=None, max_examples=200)
@given(request=requests)
def test_each_field_of_a_message_is_counted(request: Message) -> None:
    assert counted(request.SerializeToString(), type(request)) == fields_of(request)


@settings(deadline=None, max_examples=300)
@example(request=pb.CompleteRequest(), noise=GROUP + b"\x12\x0b" + b"\x80" * 11 + END_GROUP, at=0)
@example(request=pb.CompleteRequest(), noise=GROUP + b"\x12\x02\x0a\x7f" + END_GROUP, at=0)
@given(request=requests, noise=st.binary(max_size=12), at=st.integers(0, 100))
def test_nothing_that_a_parser_makes_of_a_message_is_missed(request: Message, noise: bytes, at: int) -> None:
    data = request.SerializeToString()
    data = data[:at] + noise + data[at:]
    found = counted(data, type(request))
    try:
        parsed = type(request).FromString(data)
    except DecodeError:
        return
    assert found >= fields_of(parsed)


def written(tag: int, data: bytes) -> bytes:
    """A field of delimited data."""
    length, size = len(data), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag << 3 | 2, *size, length]) + data


EMPTY_FILES = written(2, b"\x22\x00" * 2**19)
EMPTY_STOPS = written(5, b"\x32\x00" * 2**19)
UNPACKED_IDS = written(4, b"\x08\x01" * 2**19)
UNKNOWN_FIELDS = b"\xf8\x3f\x01" * 2**18
HOSTILE: dict[str, tuple[type[Message], bytes]] = {
    "files": (pb.CompleteRequest, EMPTY_FILES),
    "files after a group": (pb.CompleteRequest, GROUP + b"\x12\x0b" + b"\x80" * 11 + END_GROUP + EMPTY_FILES),
    "turns": (pb.ChatRequest, b"\x12\x02\x08\x02\x12\x02\x08\x03" * 2**17),
    "stop sequences": (pb.CompleteRequest, EMPTY_STOPS),
    "token ids": (pb.CompleteRequest, UNPACKED_IDS),
    "unknown fields": (pb.CompleteRequest, UNKNOWN_FIELDS),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_the_walk_ends_at_the_first_field_too_many(case: str) -> None:
    kind, data = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(ServingError, match=f"more than {MAX_FIELDS} fields"):
            check_fields(data, kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data) / 10


def test_texts_and_packed_numbers_may_be_long() -> None:
    for request in (
        pb.CompleteRequest(prompt='a["b"] = {}\n' * 100_000),
        pb.CompleteRequest(token_ids=TokenIds(ids=range(200_000))),
        pb.ChatRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, text="Hi")] * 4096),
    ):
        check_fields(request.SerializeToString(), type(request))


@pytest.fixture
async def channel(backend: ScriptedBackend) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc_server(one_model_service(backend)) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


async def test_a_call_with_too_many_fields_is_refused_and_the_next_is_answered(
    channel: grpc.aio.Channel, backend: ScriptedBackend
) -> None:
    data = written(2, b"\x22\x00" * (MAX_FIELDS + 1))
    complete: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(COMPLETE)
    error, _ = await failure(complete(data))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"more than {MAX_FIELDS} fields" in (error.details() or "")
    assert not backend.requests
    assert (await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="x"))).choices


COMPLETE = "/codegemma.v1.CodeAssistService/Complete"
TURN = ChatMessage(role=ChatMessage.ROLE_USER)
TOO_MANY = [
    ("Chat", pb.ChatRequest(messages=[TURN] * 4097), "messages", "4097 messages; at most 4096"),
    (
        "Complete",
        pb.CompleteRequest(fim=FimInput(prefix="x", context_files=[ContextFile()] * 1025)),
        "fim.context_files",
        "1025 files; at most 1024",
    ),
    (
        "CountTokens",
        pb.CountTokensRequest(fim=FimInput(prefix="x", context_files=[ContextFile()] * 1025)),
        "fim.context_files",
        "1025 files; at most 1024",
    ),
    (
        "Complete",
        pb.CompleteRequest(prompt="x", generation_config=GenerationConfig(stop_sequences=["x", "y" * 1025])),
        "generation_config.stop_sequences[1]",
        "1025 characters; at most 1024",
    ),
    (
        "Complete",
        pb.CompleteRequest(prompt="x", session_id="s" * 1025),
        "session_id",
        "1025 characters; at most 1024",
    ),
]


@pytest.mark.parametrize(("method", "message", "field", "fault"), TOO_MANY)
async def test_a_field_with_too_much_is_named(
    channel: grpc.aio.Channel, method: str, message: Message, field: str, fault: str
) -> None:
    error, details = await failure(getattr(CodeAssistServiceStub(channel), method)(message))
    assert (error.code(), fields_at_fault(details)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert error.details() == f"{field} has {fault} are allowed."
