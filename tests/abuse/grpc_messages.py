"""gRPC messages: bytes at random, and valid ones with something wrong anywhere in them."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.feedback_service_pb2 import RecordEventRequest
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.model_service_pb2 import GetModelRequest
from codegemma.v1.prompt_pb2 import ChatInput, ChatMessage, ContextFile, FimInput, TokenIds
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from tests.abuse.attack import Attack
from tests.abuse.checks import grpc_faults
from tests.abuse.http1 import odd_bytes
from tests.abuse.target import HOST, Door, Target

CODE_ASSIST = "/codegemma.v1.CodeAssistService"
_TIMEOUT_S = 60.0
_CONFIG = GenerationConfig(max_tokens=2, temperature=0.5, top_k=3, top_p=0.9, seed=1, logprobs=1, choices=1)
_TURNS = [
    ChatMessage(role=ChatMessage.ROLE_USER, text="Hi"),
    ChatMessage(role=ChatMessage.ROLE_MODEL, text="Hi."),
    ChatMessage(role=ChatMessage.ROLE_USER, text="Bye"),
]
_FIM = FimInput(prefix="def f(", suffix="\n", path="a.py", context_files=[ContextFile(path="b.py", text="b")])
_FEW_S = Duration(seconds=9)
_ABOUT: dict[str, Any] = {"session_id": "s", "request_id": "r", "generation_config": _CONFIG}
VALID: tuple[tuple[str, bytes], ...] = (
    (f"{CODE_ASSIST}/Complete", pb.CompleteRequest(fim=_FIM, timeout=_FEW_S, **_ABOUT).SerializeToString()),
    (f"{CODE_ASSIST}/Complete", pb.CompleteRequest(token_ids=TokenIds(ids=[2, 3, 4]), **_ABOUT).SerializeToString()),
    (f"{CODE_ASSIST}/StreamComplete", pb.StreamCompleteRequest(prompt="a", **_ABOUT).SerializeToString()),
    (f"{CODE_ASSIST}/Chat", pb.ChatRequest(messages=_TURNS, generation_config=_CONFIG).SerializeToString()),
    (f"{CODE_ASSIST}/StreamChat", pb.StreamChatRequest(messages=_TURNS, generation_config=_CONFIG).SerializeToString()),
    (f"{CODE_ASSIST}/CountTokens", pb.CountTokensRequest(chat=ChatInput(messages=_TURNS)).SerializeToString()),
    (
        "/codegemma.v1.FeedbackService/RecordEvent",
        RecordEventRequest(completion_id="c", event="COMPLETION_EVENT_SHOWN").SerializeToString(),
    ),
    ("/codegemma.v1.ModelService/GetModel", GetModelRequest(model="codegemma").SerializeToString()),
    ("/codegemma.v1.ModelService/ListModels", b""),
    ("/grpc.health.v1.Health/Check", HealthCheckRequest(service="codegemma.v1.ModelService").SerializeToString()),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ServerReflectionRequest(list_services="").SerializeToString(),
    ),
)  # fmt: skip
_STREAMS = frozenset({"StreamComplete", "StreamChat"})


@dataclass(frozen=True)
class CallAttack:
    """One gRPC call.

    Attributes:
      method: its full name.
      data: the message, as it is.
    """

    about: str
    method: str
    data: bytes
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    door: Door = Door.GRPC

    async def faults(self, target: Target) -> list[str]:
        """As `Attack.faults`."""
        if self.door not in target.ports:
            return []
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"{HOST}:{target.ports[self.door]}", options) as channel:
            try:
                await self._call(channel)
            except grpc.aio.AioRpcError as error:
                return grpc_faults(error.code(), error.details() or "", self.data)
        return []

    async def _call(self, channel: Any) -> None:
        name = self.method.rpartition("/")[2]
        if name in _STREAMS:
            async for _ in channel.unary_stream(self.method)(self.data, timeout=_TIMEOUT_S, metadata=self.metadata):
                pass
        elif name == "ServerReflectionInfo":
            async for _ in channel.stream_stream(self.method)(
                iter((self.data,)), timeout=_TIMEOUT_S, metadata=self.metadata
            ):
                pass
        else:
            await channel.unary_unary(self.method)(self.data, timeout=_TIMEOUT_S, metadata=self.metadata)


def message(draw: Random) -> Attack:
    """A message that is wrong in one way or in several."""
    method, data = draw.choice(VALID)
    if draw.random() < 0.2:
        method = draw.choice(VALID)[0]  # a message of another type
    done = []
    for change in draw.choices(_CHANGES, k=draw.randint(1, 3)):
        done.append(change.__name__.strip("_"))
        data = change(data, draw)
    metadata: list[tuple[str, str | bytes]] = []
    if draw.random() < 0.5:
        key = draw.choice(("x-request-id", "x-session-id", "x-bin", "traceparent"))
        metadata.append((key, odd_bytes(draw) if key.endswith("-bin") else "a b~"))
    door = draw.choices((Door.GRPC, Door.DIRECT_GRPC), (4, 1))[0]
    return CallAttack(f"{method.rpartition('/')[2]}: {', '.join(done)}", method, data, tuple(metadata), door)


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def field(number: int, data: bytes) -> bytes:
    """A field of bytes: a string, a message, or packed numbers."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def _random(data: bytes, draw: Random) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 10, 100, 3000)))


def _flipped(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _truncated(data: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _joined(data: bytes, draw: Random) -> bytes:
    return data + draw.choice(VALID)[1]


def _unknown_field(data: bytes, draw: Random) -> bytes:
    return data + field(draw.choice((99, 1000, 2**29 - 1)), draw.randbytes(draw.choice((0, 10, 20_000))))


def _known_field(data: bytes, draw: Random) -> bytes:
    return data + field(draw.randint(1, 8), draw.choice((b"", b"\xff", b"a" * 3000, b"\0", b"\xed\xa0\x80", data)))


def _number(data: bytes, draw: Random) -> bytes:
    number = draw.choice((0, 1, 2**31 - 1, 2**31, 2**63, 2**64 - 1))
    return data + field(5, varint(draw.randint(1, 8) << 3) + varint(number))


def _real(data: bytes, draw: Random) -> bytes:
    real = draw.choice((float("nan"), float("inf"), -float("inf"), -1.0, 3e38, -0.0))
    return data + field(5, varint(draw.choice((2, 4)) << 3 | 5) + struct.pack("<f", real))


def _timeout(data: bytes, draw: Random) -> bytes:
    seconds, nanos = draw.choice(((0, 0), (-1, 0), (2**62, 0), (1, 2**31 - 1), (1, -1 % 2**64)))
    return data + field(6, b"\x08" + varint(seconds % 2**64) + b"\x10" + varint(nanos))


def _nested(data: bytes, draw: Random) -> bytes:
    for _ in range(draw.choice((5, 50, 200))):
        data = field(2, data)
    return data


def _empties(data: bytes, draw: Random) -> bytes:
    inner = field(draw.choice((1, 2, 4)), b"") * draw.choice((10, 2000))
    return data + field(draw.choice((2, 4, 5)), inner)


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _random,
    _flipped,
    _flipped,
    _truncated,
    _joined,
    _unknown_field,
    _known_field,
    _known_field,
    _number,
    _real,
    _timeout,
    _nested,
    _empties,
)
