"""HTTP/2 frames by hand, for requests that no client library sends (RFC 9113; headers as literals of RFC 7541)."""

import asyncio
import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS = 1, 4

type Header = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, whatever it says."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header_block(headers: Iterable[Header]) -> bytes:
    """Literal headers, without indexing and without Huffman coding."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def grpc_headers(path: bytes, *more: Header) -> list[Header]:
    """Those of a gRPC call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def grpc_message(data: bytes, *, compressed: bool = False) -> bytes:
    """A message with its prefix of length."""
    return bytes([compressed]) + struct.pack(">I", len(data)) + data


def call(headers: Iterable[Header], body: bytes | None = b"", *, ends: bool = True, stream: int = 1) -> bytes:
    """A connection's first bytes: preface, settings, a request; without DATA if the body is None."""
    opening = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, stream, header_block(headers))
    return opening if body is None else opening + frame(DATA, END_STREAM if ends else 0, stream, body)


async def exchange(target: str, data: bytes, until: bytes = b"grpc-status", timeout_s: float = 5.0) -> bytes:
    """Sends bytes to HOST:PORT and returns what comes back, up to the end, this text, or the time.

    `grpc-status` is there to be read because gRPC's servers do not code the names of trailers.
    """
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(data)
            await writer.drain()
            while until not in received and (more := await reader.read(65536)):
                received += more
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return received


def grpc_status(received: bytes) -> int | None:
    """The code of `grpc-status` in what came back, if it is there."""
    _, found, rest = received.partition(b"grpc-status")
    return int(rest[1 : 1 + rest[0]]) if found else None


def _string(text: bytes) -> bytes:
    """A string literal with its length, of up to 16,000 bytes."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    length = len(text) - 127
    coded = b"\x7f"
    while length >= 128:
        coded += bytes([length % 128 + 128])
        length //= 128
    return coded + bytes([length]) + text
