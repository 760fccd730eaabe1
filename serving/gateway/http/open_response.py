"""OpenResponse: a response that needs no key, and is larger than what a connection may keep in memory."""

from collections.abc import Mapping
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.servers.places import Places

PIECE = 32 * 1024
"""Bytes that are sent at a time: a server holds few of them for a client that does not read."""
MAX_READERS = 64
"""Of such responses at once. They must not take the places of requests, nor the memory."""
_WITHIN_S = 60.0
"""In which it is read, at 12 KB/s if it is large."""


class OpenResponse(Response):
    """Sends its content piece by piece, as the client reads it. Who reads slowly gives its place to one who comes."""

    def __init__(
        self, places: Places, content: bytes, *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """`places` are those of all such responses, `MAX_READERS`."""
        super().__init__(content, headers=headers, media_type=media_type)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(TimeoutError):  # the server closes the connection, as the response is not complete
            async with self._places.taken(_WITHIN_S):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                for start in range(0, len(self.body), PIECE):
                    piece = self.body[start : start + PIECE]
                    await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
                await send({"type": "http.response.body", "body": b""})
