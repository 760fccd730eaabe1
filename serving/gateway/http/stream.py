"""Answers over HTTP that stop working the moment the client goes away."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import ServingError, error_body
from serving.gateway.http.errors import ClientGoneError, compact_json


async def while_connected[T](receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client goes away.

    Starlette lets the handler of a request run on after its client is gone.

    Raises:
      ClientGoneError: the client went away; `work` has ended.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _next[T](items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events, each in a message of its own so that it leaves at once.

    Format: https://html.spec.whatwg.org/multipage/server-sent-events.html, ended by OpenAI's `[DONE]`. A failure
    is an event with an error body, and the last one.
    """

    media_type = "text/event-stream"

    @classmethod
    async def begin(cls, request: Request, events: AsyncGenerator[dict[str, Any], None]) -> "EventStream":
        """A response whose first event is already there.

        Raises:
          ServingError: the answer failed before its first event.
          ClientGoneError: the client went away before.
        """
        try:
            first = await while_connected(request.receive, _next(events))
        except BaseException:
            await events.aclose()
            raise
        return cls(first, events)

    def __init__(self, first: dict[str, Any], events: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            with suppress(ClientGoneError, OSError):  # servers say either way that nobody listens any more
                await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._send_event(send, compact_json(self._first))
        try:
            async for event in self._events:
                await self._send_event(send, compact_json(event))
            last = b"[DONE]"
        except ServingError as error:
            last = compact_json(error_body(error))
        await self._send_event(send, last, more=False)

    async def _send_event(self, send: Send, data: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": b"data: %b\n\n" % data, "more_body": more})
