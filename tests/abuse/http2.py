"""Raw HTTP/2 for the gRPC ports: calls whose headers, messages and frames are not what they should be."""

import struct
from collections.abc import Callable
from random import Random

from codegemma.v1.code_assist_service_pb2 import CompleteRequest
from codegemma.v1.generation_pb2 import GenerationConfig

from tests.abuse.attack import Attack
from tests.abuse.http1 import odd_bytes
from tests.abuse.http2_attack import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    FrameType,
    Http2Attack,
    frame,
    header_block,
    headers_frames,
)
from tests.abuse.target import Door

UNARY = b"/codegemma.v1.CodeAssistService/Complete"
_METHODS = (
    UNARY,
    b"/codegemma.v1.CodeAssistService/StreamComplete",
    b"/codegemma.v1.CodeAssistService/Chat",
    b"/codegemma.v1.CodeAssistService/CountTokens",
    b"/codegemma.v1.ModelService/ListModels",
    b"/codegemma.v1.ModelService/GetModel",
    b"/grpc.health.v1.Health/Check",
    b"/grpc.health.v1.Health/List",
)
_MESSAGE = CompleteRequest(prompt="a", generation_config=GenerationConfig(max_tokens=1)).SerializeToString()
_OPEN = PREFACE + frame(FrameType.SETTINGS, 0, 0)
_METADATA = (
    b"x-request-id",
    b"request_id",
    b"x-session-id",
    b"session_id",
    b"x-tenant-id",
    b"x-api-key",
    b"authorization",
    b"traceparent",
    b"application",
    b"multiplexed_model_id",
    b"grpc-encoding",
    b"grpc-accept-encoding",
    b"grpc-timeout",
    b"grpc-trace-bin",
    b"grpc-tags-bin",
    b"grpc-previous-rpc-attempts",
    b"user-agent",
    b"x-bin",
    b"x",
)


def raw_http2(draw: Random) -> Attack:
    """A connection that is wrong in one way, or only unusual."""
    return draw.choice(_KINDS)(draw)


def call(path: bytes = UNARY, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers of a gRPC call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"service"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def message(data: bytes = _MESSAGE, length: int | None = None, compressed: int = 0) -> bytes:
    """A message with gRPC's prefix, which can lie."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


def _door(draw: Random) -> Door:
    return draw.choices((Door.GRPC, Door.DIRECT_GRPC), (2, 1))[0]


def _whole(headers: list[tuple[bytes, bytes]], body: bytes | None = None) -> bytes:
    body = message() if body is None else body
    return _OPEN + headers_frames(1, headers) + frame(FrameType.DATA, END_STREAM, 1, body)


def _path(draw: Random) -> Attack:
    path = draw.choice(
        (
            b"/codegemma.v1.CodeAssistService/\xff",
            b"/\xff\xfe/Complete",
            b"\xc3\x28",
            b"/codegemma.v1.CodeAssistService/Compl\xe9te",
            odd_bytes(draw),
            b"",
            b"/",
            b"//",
            b"/codegemma.v1.CodeAssistService",
            b"/codegemma.v1.CodeAssistService/",
            b"/codegemma.v1.CodeAssistService/__init__",
            b"/codegemma.v1.CodeAssistService/check_health",
            b"/ray.serve.RayServeAPIService/ListApplications",
            b"/ray.serve.RayServeAPIService/Healthz",
            b"/ray.serve.UserDefinedService/__call__",
            b"/" + b"a" * 9000,
            b"http://service/codegemma.v1.CodeAssistService/Complete",
            b"*",
            UNARY + b"?a=b",
            UNARY + b"\0",
        )
    )
    return Http2Attack(f"path {path[:60]!r}", _whole(call(path)), _door(draw))


def _metadata(draw: Random) -> Attack:
    name = draw.choice((*_METADATA, b"X-Upper", b"", b"a b", b"connection", b"transfer-encoding", b":odd", b"\xff"))
    value = draw.choice(
        (odd_bytes(draw), b"\xff\xfe", b"caf\xe9", b"", b"a" * 5000, b"====", b"gzip", b"1", b"-1", b"99999999H", b"0n")
    )
    return Http2Attack(
        f"{name!r}: {value[:20]!r}", _whole(call(draw.choice(_METHODS), (name, value))), _door(draw), breaks=True
    )


def _legal_metadata(draw: Random) -> Attack:
    """Metadata that HTTP/2 allows and the service or Ray Serve reads: the call ends with a status."""
    name = draw.choice((*_METADATA[:10], b"x"))
    value = draw.choice((b"a b", b"a" * 300, b"[]{}", b"null", b"\x21~", b"Bearer x", b"0"))
    return Http2Attack(f"{name!r}: {value[:20]!r}", _whole(call(UNARY, (name, value))), _door(draw), must_answer=True)


def _many_headers(draw: Random) -> Attack:
    count, size = draw.choice(((120, 10), (3000, 10), (1, 9000), (1, 60_000), (40, 400)))
    more = [(b"x-%d" % number, b"a" * size) for number in range(count)]
    return Http2Attack(f"{count} headers of {size} bytes", _whole(call(UNARY, *more)), _door(draw), breaks=True)


def _pseudo_headers(draw: Random) -> Attack:
    headers = call(draw.choice(_METHODS))
    about = draw.choice(("missing", "twice", "late", "odd"))
    at = draw.randrange(6)
    match about:
        case "missing":
            headers.pop(at)
        case "twice":
            headers.append(headers[at])
        case "late":
            headers.append(headers.pop(at))
        case _:
            headers[at] = (headers[at][0], odd_bytes(draw))
    return Http2Attack(f"{headers[min(at, len(headers) - 1)][0]!r} {about}", _whole(headers), _door(draw), breaks=True)


def _not_grpc(draw: Random) -> Attack:
    method = draw.choice((b"GET", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"X"))
    kind = draw.choice((b"application/json", b"application/grpc-web", b"application/grpc+json", b"text/html", b""))
    path = draw.choice((UNARY, b"/", b"/health", b"/v1/models", b"/favicon.ico"))
    headers = [
        (b":method", method),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"a"),
        (b"content-type", kind),
    ]
    data = _OPEN + headers_frames(1, headers, end=True)
    return Http2Attack(f"{method!r} {path!r} {kind!r}", data, _door(draw), breaks=True)


def _messages(draw: Random) -> Attack:
    about, body = draw.choice(
        (
            ("a length too long", message(length=len(_MESSAGE) + 1)),
            ("a length too short", message(length=3)),
            ("a length of 4 GiB", message(length=2**32 - 1)),
            ("a length of 5 MiB", message(length=5 * 2**20)),
            ("half a prefix", b"\0\0"),
            ("compressed without a word", message(compressed=1)),
            ("an odd flag", message(compressed=255)),
            ("no prefix", odd_bytes(draw)),
        )
    )
    return Http2Attack(about, _whole(call(draw.choice(_METHODS)), body), _door(draw), breaks=True)


def _several_messages(draw: Random) -> Attack:
    """More than the one that a unary method takes: the call ends with a status."""
    count = draw.choice((2, 30))
    return Http2Attack(f"{count} messages", _whole(call(UNARY), message() * count), _door(draw), must_answer=True)


def _no_message(draw: Random) -> Attack:
    """A call that ends before its message: that is over, too."""
    headers = call(draw.choice(_METHODS))
    data = _OPEN + draw.choice(
        (
            headers_frames(1, headers, end=True),
            headers_frames(1, headers) + frame(FrameType.DATA, END_STREAM, 1),
        )
    )
    return Http2Attack("no message", data, _door(draw), must_answer=True)


def _compressed(draw: Random) -> Attack:
    encoding = draw.choice((b"gzip", b"deflate", b"snappy", b"identity", b"\xff"))
    body = message(odd_bytes(draw), compressed=1)
    return Http2Attack(
        f"{encoding!r} that is not", _whole(call(UNARY, (b"grpc-encoding", encoding)), body), _door(draw), breaks=True
    )


def _frames(draw: Random) -> Attack:
    stream = draw.choice((0, 1, 2, 3, 2**31 - 1))
    odd = (
        frame(draw.randrange(256), draw.randrange(256), stream, odd_bytes(draw)),
        frame(FrameType.DATA, 0, stream, b"a" * 100),
        frame(FrameType.DATA, 8, 1, b"\xff"),  # more padding than payload
        frame(FrameType.HEADERS, END_HEADERS, stream, b"\xff" * 40),
        frame(FrameType.HEADERS, END_HEADERS, 1, b"\x3f" + b"\xff" * 12),  # a table of absurd size
        frame(FrameType.CONTINUATION, 0, 1, b"a"),
        frame(FrameType.SETTINGS, 0, stream, b"\0\4\xff\xff\xff\xff"),
        frame(FrameType.SETTINGS, 0, 0, b"\0\5\0\0\0\1"),
        frame(FrameType.SETTINGS, 0, 0, b"abc"),
        frame(FrameType.SETTINGS, ACK, 0, b"abcdef"),
        frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"),
        frame(FrameType.WINDOW_UPDATE, 0, stream, b"\0\0\0\0"),
        frame(FrameType.WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff") * 3,
        frame(FrameType.PRIORITY, 0, 1, struct.pack(">IB", 1, 16)),
        frame(FrameType.RST_STREAM, 0, stream, b"\0\0\0\0"),
        frame(FrameType.PING, 0, 0, b"12345678") * 200,
        frame(FrameType.PING, 0, 0, b"123"),
        frame(FrameType.GOAWAY, 0, 0, b"\0" * 8 + odd_bytes(draw)),
        frame(FrameType.DATA, 0, 1, b"a", length=2**24 - 1),
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        odd_bytes(draw, 300),
    )
    number = draw.randrange(len(odd))
    before = headers_frames(1, call()) if draw.random() < 0.6 else b""
    return Http2Attack(f"frame {number} of stream {stream}", _OPEN + before + odd[number], _door(draw), breaks=True)


def _prefaces(draw: Random) -> Attack:
    data = draw.choice(
        (
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}",
            PREFACE[:10],
            PREFACE,
            PREFACE + odd_bytes(draw, 200),
            PREFACE + headers_frames(1, call(), end=True),
            odd_bytes(draw, 200),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + odd_bytes(draw, 100),
        )
    )
    return Http2Attack(f"opens with {data[:20]!r}", data, _door(draw), breaks=True)


def _rapid_reset(draw: Random) -> Attack:
    """CVE-2023-44487: streams that are opened and reset, as many as one connection may."""
    count = draw.choice((20, 200))
    data = b"".join(
        headers_frames(number, call()) + frame(FrameType.RST_STREAM, 0, number, b"\0\0\0\x08")
        for number in range(1, 2 * count, 2)
    )
    return Http2Attack(f"{count} streams reset", _OPEN + data, _door(draw))


def _continuations(draw: Random) -> Attack:
    """Header frames without an end (CVE-2024-24549 and its like)."""
    count = draw.choice((5, 60))
    first = frame(FrameType.HEADERS, 0, 1, header_block(call()))
    more = frame(FrameType.CONTINUATION, 0, 1, header_block([(b"x", b"a" * 8000)])) * count
    return Http2Attack(f"{count} continuations", _OPEN + first + more, _door(draw), breaks=True)


_KINDS: tuple[Callable[[Random], Attack], ...] = (
    _path,
    _metadata,
    _metadata,
    _legal_metadata,
    _many_headers,
    _pseudo_headers,
    _not_grpc,
    _messages,
    _several_messages,
    _no_message,
    _compressed,
    _frames,
    _frames,
    _prefaces,
    _rapid_reset,
    _continuations,
)
