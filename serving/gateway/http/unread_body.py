"""Answers that do not wait for the body of their request."""

from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.servers.places import Places

_MAX_BYTES = 64 * 2**20
"""Of a longer body too, so that a client that reads while it sends has its answer before its connection is reset."""
_MAX_AT_ONCE = 64
"""Few beside the requests that a Gateway has open: no client may fill it with bodies that were refused."""


class UnreadBody:
    """Discards what is left of a request's body when its answer has been sent, and closes the connection then.

    Most clients read an answer only when they have sent everything, and to close the connection before that would look
    like a network failure to them. Others never send everything.
    """

    def __init__(self, app: ASGIApp, within_s: float) -> None:
        """Discards nothing that comes later than `within_s` after the answer."""
        self._app = app
        self._within_s = within_s
        self._places = Places(_MAX_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        unread = True

        async def receive_and_notice() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_and_discard(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            elif unread and not message.get("more_body", False):
                await send({**message, "more_body": True})  # all that the client waits for
                await self._discard(receive)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_and_notice, send_and_discard)

    async def _discard(self, receive: Receive) -> None:
        with suppress(TimeoutError):
            async with self._places.taken(self._within_s):
                size = 0
                while size < _MAX_BYTES:
                    message = await receive()
                    size += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
