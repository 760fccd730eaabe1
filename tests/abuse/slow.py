"""Slow connections: those that never say what they want, and hold a place for as long as they may."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from tests.abuse.http2 import call, message
from tests.abuse.http2_attack import PREFACE, FrameType, frame, headers_frames
from tests.abuse.target import HOST, Door, Target

_POST = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n"
_TRICKLE_S = 1.0
_OPEN = PREFACE + frame(FrameType.SETTINGS, 0, 0)


@dataclass(frozen=True)
class SlowAttack:
    """A connection that begins with some bytes and goes on with few, for as long as it is let."""

    about: str
    begin: bytes
    trickle: bytes = b""
    door: Door = Door.HTTP

    async def faults(self, target: Target) -> list[str]:
        """As `Attack.faults`: it must be answered or ended within the limit."""
        if self.door not in target.ports:
            return []
        started = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(HOST, target.ports[self.door])
        except OSError:
            return [f"nothing listens at {self.door}"]
        try:
            async with asyncio.timeout(target.slow_limit_s):
                writer.write(self.begin)
                await self._ended(reader, writer)
        except TimeoutError:
            return [f"{self.about} ({self.door}): open after {time.monotonic() - started:.0f} s"]
        finally:
            writer.transport.abort()
        return []

    async def _ended(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Returns when the service has ended the connection, or answered what is in it."""
        heard = b""
        while not _answered(heard):
            try:
                part = await asyncio.wait_for(reader.read(65536), _TRICKLE_S)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    writer.write(self.trickle)
                continue
            except OSError:
                return
            if not part:
                return
            heard += part


def _answered(heard: bytes) -> bool:
    """Whether the request has its answer, in a connection that may stay open for another one."""
    reset = frame(FrameType.RST_STREAM, 0, 1, b"\0\0\0\0")[3:9]
    return heard.startswith(b"HTTP/1.1 4") or b"grpc-status" in heard or reset in heard


SLOW = (
    SlowAttack("not a byte", b""),
    SlowAttack("half a request line", b"GET /hea"),
    SlowAttack("headers without an end", b"GET /health HTTP/1.1\r\nhost: a\r\nx: ", b"a"),
    SlowAttack("a body that stops", _POST + b"content-length: 100\r\n\r\n{"),
    SlowAttack("a body byte by byte", _POST + b"content-length: 100000\r\n\r\n{", b" "),
    SlowAttack("chunks byte by byte", _POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n \r\n"),
    SlowAttack("not a byte", b"", door=Door.GRPC),
    SlowAttack("a preface and no more", _OPEN, door=Door.GRPC),
    SlowAttack("headers without an end", _OPEN + frame(FrameType.HEADERS, 0, 1, b""), door=Door.GRPC),
    SlowAttack("a call without a message", _OPEN + headers_frames(1, call()), door=Door.GRPC),
    SlowAttack(
        "half a message",
        _OPEN + headers_frames(1, call()) + frame(FrameType.DATA, 0, 1, message()[:-1]),
        door=Door.GRPC,
    ),
    SlowAttack(
        "a message byte by byte",
        _OPEN + headers_frames(1, call()) + frame(FrameType.DATA, 0, 1, message(length=100_000)[:6]),
        frame(FrameType.DATA, 0, 1, b"a"),
        door=Door.GRPC,
    ),
)
"""Each kind of them once."""
