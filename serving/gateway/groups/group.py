"""LinkedGroup: one replica group, at the other end of a link."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable

from aiohttp import ClientWebSocketResponse, WSMsgType

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import Reason, ServingError
from serving.link import Abort, Refusal, Submit, ToGroup, Waiting, decode_from_group, encode

_log = logging.getLogger("ray.serve.linked_group")  # below Ray Serve's logger, whose handlers write the log

_RETRY_AFTER_S = 1.0
_LOST = frozenset({FinishReason.ERROR, FinishReason.ABORTED})
"""Ends of a generation that is still wanted, which only a group has that is out of service."""


class LinkedGroup:
    """Sends requests to a group and hands out what comes back; ends with its link.

    Attributes:
      serves: whether it takes requests; not any more once it has failed or is about to stop.
    """

    def __init__(self, group_id: str, on_change: Callable[[], None]) -> None:
        """`on_change` is called when the group may have more room, or one request less of this Gateway."""
        self.group_id = group_id
        self.serves = True
        self._on_change = on_change
        self._outgoing: asyncio.Queue[ToGroup] = asyncio.Queue()
        self._generations: dict[str, Generation] = {}
        self._told_load = 0
        self._submitted = self._taken = 0

    @property
    def load(self) -> int:
        """Requests in the group: what it said last, and what was sent there since."""
        return self._told_load + self._submitted - self._taken

    @property
    def idle(self) -> bool:
        """Whether nothing of this Gateway is in the group."""
        return not self._generations

    def open(self, request: GenerationRequest) -> "Generation":
        """Sends a request; `close` what this returns."""
        generation = self._generations[request.request_id] = Generation(self, request.request_id)
        self._submitted += 1
        self._outgoing.put_nowait(Submit(request))
        return generation

    def abort(self, request_id: str) -> None:
        """Ends a request in the group, if it is still there."""
        if self._generations.pop(request_id, None) is not None:
            self._outgoing.put_nowait(Abort(request_id))
            self._on_change()

    def tell_waiting(self, requests: int) -> None:
        """Tells the group how many requests wait in this Gateway."""
        self._outgoing.put_nowait(Waiting(requests))

    async def run(self, socket: ClientWebSocketResponse) -> None:
        """Carries messages until the link ends; what is open then is lost."""
        sender = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    self._receive(message.data)
        finally:
            self.serves = False
            sender.cancel()
            generations, self._generations = self._generations, {}
            for generation in generations.values():
                generation.put(lost())

    async def _send(self, socket: ClientWebSocketResponse) -> None:
        try:
            while True:
                await socket.send_bytes(encode(await self._outgoing.get()))
        except ConnectionError:
            return  # whoever reads sees it too
        except Exception:
            _log.exception("the link to group %s broke", self.group_id)
            await socket.close()

    def _receive(self, data: bytes) -> None:
        message = decode_from_group(data)
        self._told_load, self._taken = message.load, message.taken
        for request_id, chunk in message.chunks:
            if request_id in self._generations:
                self._generations[request_id].put(chunk)
                self.serves = self.serves and chunk.finish_reason not in _LOST
                if chunk.finish_reason is not None:
                    del self._generations[request_id]
        for refusal in message.refusals:
            self.serves = self.serves and refusal.reason is not Reason.UNAVAILABLE
            if refusal.request_id in self._generations:
                self._generations.pop(refusal.request_id).put(_error(refusal))
        self._on_change()


class Generation:
    """One request in a group, and what came of it so far."""

    def __init__(self, group: LinkedGroup, request_id: str) -> None:
        self._group = group
        self._request_id = request_id
        self._given: asyncio.Queue[GenerationChunk | ServingError] = asyncio.Queue()

    def put(self, given: GenerationChunk | ServingError) -> None:
        """Takes what the group gave, or why it gives no more."""
        self._given.put_nowait(given)

    async def chunks(self) -> AsyncGenerator[GenerationChunk, None]:
        """What the group gives; together what came while the caller was busy. Closes at the end.

        Raises:
          ServingError: the group refused the request, UNAVAILABLE if the group is lost.
        """
        try:
            finished = False
            while not finished:
                given = await self._given.get()
                while isinstance(given, GenerationChunk) and not self._given.empty():
                    more = self._given.get_nowait()
                    given = given.followed_by(more) if isinstance(more, GenerationChunk) else more
                if isinstance(given, ServingError):
                    raise given
                finished = given.finish_reason is not None
                if given.finish_reason in _LOST:
                    raise lost()
                yield given
        finally:
            self.close()

    def close(self) -> None:
        """Ends it, if it has not ended."""
        self._group.abort(self._request_id)


def lost() -> ServingError:
    """What the requests of a group see that is lost."""
    return ServingError(
        Reason.UNAVAILABLE,
        "The replica group that served this request was lost. Try again.",
        retry_after_s=_RETRY_AFTER_S,
    )


def _error(refusal: Refusal) -> ServingError:
    return ServingError(refusal.reason, refusal.message, refusal.retry_after_s)
