"""An HTTP/2 input: frames, and the answers that come back, stream by stream."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import unquote

import grpc
from hpack import Decoder, HPACKError

from tests.abuse.checks import grpc_faults, text_faults
from tests.abuse.connection import exchange
from tests.abuse.target import Door, Target

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_UNREAD = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class FrameType(IntEnum):
    """https://www.rfc-editor.org/rfc/rfc9113#name-frame-definitions."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM = ACK = 1
END_HEADERS = 4
Headers = Sequence[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """One frame; its length can be said to be another than it is."""
    said = len(payload) if length is None else length
    return struct.pack(">I", said)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def header_block(headers: Headers) -> bytes:
    """Headers in HPACK, each literally and without Huffman's code."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, more = len(text) - 127, b"\x7f"
    while rest >= 128:
        more += bytes((rest & 127 | 128,))
        rest >>= 7
    return more + bytes((rest,)) + text


def headers_frames(stream: int, headers: Headers, *, end: bool = False) -> bytes:
    """Headers in as many frames as they need."""
    block = header_block(headers)
    parts = [block[at : at + 16384] for at in range(0, len(block), 16384)] or [b""]
    return b"".join(
        frame(
            FrameType.CONTINUATION if number else FrameType.HEADERS,
            (END_HEADERS if part is parts[-1] else 0) | (END_STREAM if end and not number else 0),
            stream,
            part,
        )
        for number, part in enumerate(parts)
    )


@dataclass
class _Stream:
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False


def answers(data: bytes) -> dict[int, _Stream]:
    """What a server sent on each stream.

    Raises:
      HPACKError, ValueError: it sent what is no HTTP/2.
    """
    decoder = Decoder()
    streams: dict[int, _Stream] = {}
    for kind, flags, number, payload in _frames(data):
        stream = streams.setdefault(number, _Stream())
        match kind:
            case FrameType.HEADERS | FrameType.CONTINUATION:
                # Both servers here send headers in one frame, without padding or priority.
                fields = decoder.decode(payload, raw=True)
                stream.headers |= {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
                stream.ended |= bool(flags & END_STREAM)
            case FrameType.DATA:
                stream.data += payload
                stream.ended |= bool(flags & END_STREAM)
            case FrameType.RST_STREAM:
                stream.ended = True
            case FrameType.GOAWAY:
                streams[0].ended = True
    return streams


def _frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + 9 <= len(data):
        length = int.from_bytes(data[at : at + 3])
        kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]) & 0x7FFFFFFF
        if kind > FrameType.CONTINUATION or length > 16384:
            raise ValueError(f"a frame of kind {kind} with {length} bytes")
        if at + 9 + length > len(data):
            return
        yield kind, flags, stream, data[at + 9 : at + 9 + length]
        at += 9 + length


@dataclass(frozen=True)
class Http2Attack:
    """Bytes for a port where HTTP/2 is spoken.

    Attributes:
      must_answer: stream 1 is a whole gRPC call, which ends with a status.
      breaks: it is no HTTP/2 or no gRPC, to which gRPC's own library may answer that it could not read it
        (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), or end the connection.
    """

    about: str
    data: bytes
    door: Door = Door.GRPC
    must_answer: bool = False
    breaks: bool = False

    async def faults(self, target: Target) -> list[str]:
        """As `Attack.faults`."""
        if self.door not in target.ports:
            return []
        heard = await exchange(
            target.ports[self.door], self.data, must_answer=lambda _: self.must_answer, is_whole=_is_over
        )
        if heard.refused:
            return [f"nothing listens at {self.door}"]
        if heard.silent:
            return [f"no answer within {heard.seconds:.0f} s, after {heard.data[:200]!r}"]
        if heard.data.startswith(b"HTTP/1"):
            return [] if self.data[:3] != PREFACE[:3] else [f"HTTP/1 to a preface of HTTP/2: {heard.data[:200]!r}"]
        try:
            streams = answers(heard.data)
        except (HPACKError, ValueError) as error:
            return [f"not HTTP/2: {error!r} in {heard.data[:200]!r}"]
        faults = [fault for number, stream in streams.items() if number for fault in self._faults_of(stream)]
        if self.must_answer and not (1 in streams and streams[1].headers):
            faults.append("the call ended without a status")
        return faults

    def _faults_of(self, stream: _Stream) -> list[str]:
        headers = stream.headers
        if "grpc-status" in headers:
            code = _CODES.get(int(headers["grpc-status"]), grpc.StatusCode.UNKNOWN)
            message = unquote(headers.get("grpc-message", ""))
            if self.breaks and code in _UNREAD:
                return text_faults(message, self.data)
            return grpc_faults(code, message, self.data)
        status = int(headers.get(":status", 0))
        if status < 400:
            return []
        shown = f"{status} {headers.get('content-type')} {stream.data[:200]!r}"
        faults = [f"a server error: {shown}"] if status >= 500 else []
        if stream.data and headers.get("content-type") != "application/json":
            faults.append(f"an error that is not JSON: {shown}")
        return faults


def _is_over(data: bytes) -> bool:
    try:
        streams = answers(data)
    except (HPACKError, ValueError):
        return True
    return any(stream.ended for stream in streams.values())
