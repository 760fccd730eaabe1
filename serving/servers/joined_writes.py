"""JoinedWrites: a transport that sends what is written to it in one turn of the event loop together."""

import asyncio
from typing import Any

_MOST = 64 * 1024
"""Bytes that wait for the end of the turn: more are sent at once, so that the transport notices a slow reader."""


class JoinedWrites:
    """Wraps a transport of uvloop, which sends every write by itself: a system call, and a reader that wakes for each.

    The headers of an answer, its first piece and often its end are written in one turn.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = bytearray()

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends it at the end of this turn, or with more that is written until then."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting += data
        if len(self._waiting) > _MOST:
            self._send()

    def close(self) -> None:
        """Sends what waits, and closes the connection then."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._waiting:
            data, self._waiting = self._waiting, bytearray()
            self._transport.write(data)
