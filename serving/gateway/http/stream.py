"""StreamResponse: an answer that is sent as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer
from serving.gateway.http.connection import ClientGoneError, while_connected
from serving.gateway.http.responses import gone_response
from serving.gateway.http.times import HttpTimes
from serving.gateway.request import AnswerPart


class StreamResponse(Response):
    """Sends each piece in a message of its own, so that it leaves at once."""

    def __init__(
        self,
        parts: AsyncGenerator[AnswerPart, None],
        answer: StreamedAnswer,
        client_error: Callable[[Exception], ServingError],
        refusal: Callable[[ServingError], Response],
        times: HttpTimes,
    ) -> None:
        """Begins nothing yet.

        Args:
          parts: closed at the end, whatever that is.
          answer: writes them.
          client_error: the failure as it is reported to the client.
          refusal: the response of what failed before the headers were sent.
          times: how long nothing may be said.
        """
        super().__init__(
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"}, media_type=answer.framing.media_type
        )
        del self.headers["content-length"]
        self._parts = parts
        self._answer = answer
        self._client_error = client_error
        self._refusal = refusal
        self._times = times
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Response | None = None
        async with aclosing(self._parts):
            try:
                refusal = await while_connected(receive, self._send(send))
            except (ClientGoneError, OSError):  # servers report either way that the client is gone
                refusal = None if self._begun else gone_response()
        if refusal:
            await refusal(scope, receive, send)

    async def _send(self, send: Send) -> Response | None:
        """Sends everything, or returns the response to what failed before."""
        try:
            first = await self._first(send)
            if not self._begun:
                await self._begin(send)
            if first:
                await self._write(send, self._answer.piece(first))
                async for part in self._parts:
                    await self._write(send, self._answer.piece(part))
            last = self._answer.end()
        except OSError:
            raise  # the client is gone
        except Exception as error:
            client_error = self._client_error(error)
            if not self._begun:
                return self._refusal(client_error)
            last = self._answer.error(client_error)
        await send({"type": "http.response.body", "body": last})
        return None

    async def _first(self, send: Send) -> AnswerPart | None:
        """The first part; headers and signs of life meanwhile, if it takes its time."""
        here = asyncio.Event()
        signs: list[asyncio.Task[None]] = []  # few answers are late enough for a task

        def be_late() -> None:
            signs.append(asyncio.create_task(self._signs_of_life(send, here)))

        late = asyncio.get_running_loop().call_later(self._times.headers_s, be_late)
        try:
            return await anext(self._parts, None)
        except asyncio.CancelledError:
            for sign in signs:
                sign.cancel()
            raise
        finally:
            late.cancel()
            here.set()
            await asyncio.gather(*signs, return_exceptions=True)

    async def _signs_of_life(self, send: Send, until: asyncio.Event) -> None:
        await self._begin(send)
        while not until.is_set():
            await self._write(send, self._answer.framing.sign_of_life)
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), self._times.sign_of_life_s)

    async def _begin(self, send: Send) -> None:
        self._begun = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _write(self, send: Send, data: bytes) -> None:
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
