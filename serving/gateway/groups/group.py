"""LinkedGroup: one replica group, at the other end of a link."""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import ClientWebSocketResponse, WSMsgType

from serving.engine.request import FinishReason, GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.backend import Sink
from serving.link import Abort, Refusal, Submit, ToGroup, Waiting, decode_from_group, encode

_log = logging.getLogger("ray.serve.linked_group")  # below Ray Serve's logger, whose handlers write the log

_RETRY_AFTER_S = 1.0
_MOST_TOGETHER = 8
"""Of what waits to be sent, in one message: a group takes none of more than 16 MiB."""
_LOST = frozenset({FinishReason.ERROR, FinishReason.ABORTED})
"""Ends of a generation that is still wanted, which only a group has that is out of service."""


class LinkedGroup:
    """Sends requests to a group and hands out what comes back; ends with its link.

    Attributes:
      serves: whether it takes requests; not any more once it has failed or is about to stop.
      adapters: that it has in memory, as it said last.
    """

    def __init__(self, group_id: str, on_change: Callable[[], None]) -> None:
        """`on_change` is called when the group may have more room, or one request less of this Gateway."""
        self.group_id = group_id
        self.serves = True
        self.adapters: frozenset[str] = frozenset()
        self._on_change = on_change
        self._outgoing: asyncio.Queue[ToGroup] = asyncio.Queue()
        self._sinks: dict[str, Sink] = {}
        self._told_load = 0
        self._submitted = self._taken = 0

    @property
    def load(self) -> int:
        """Requests in the group: what it said last, and what was sent there since."""
        return self._told_load + self._submitted - self._taken

    @property
    def idle(self) -> bool:
        """Whether nothing of this Gateway is in the group."""
        return not self._sinks

    def open(self, request: GenerationRequest, sink: Sink) -> None:
        """Sends a request; what comes of it goes to `sink`, until `abort`."""
        self._sinks[request.request_id] = sink
        self._submitted += 1
        self._outgoing.put_nowait(Submit(request))

    def abort(self, request_id: str) -> None:
        """Ends a request in the group, if it is still there."""
        if self._sinks.pop(request_id, None) is not None:
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
            while self._sinks:  # one that fails may abort others
                self._sinks.pop(next(iter(self._sinks))).fail(_lost())

    async def _send(self, socket: ClientWebSocketResponse) -> None:
        try:
            while True:
                messages = [await self._outgoing.get()]
                while len(messages) < _MOST_TOGETHER and not self._outgoing.empty():
                    messages.append(self._outgoing.get_nowait())
                await socket.send_bytes(encode(messages))
        except ConnectionError:
            return  # the reader sees it too
        except Exception:
            _log.exception("the link to group %s broke", self.group_id)
            await socket.close()

    def _receive(self, data: bytes) -> None:
        message = decode_from_group(data)
        self._told_load, self._taken = message.load, message.taken
        if message.adapters is not None:
            self.adapters = frozenset(message.adapters)
        for request_id, chunk in message.chunks:
            if request_id not in self._sinks:
                continue
            if chunk.finish_reason is None:
                self._sinks[request_id].feed(chunk)
            elif chunk.finish_reason in _LOST:
                self.serves = False  # before the sink learns of it: it may look for another group at once
                self._sinks.pop(request_id).fail(_lost())
            else:
                self._sinks.pop(request_id).feed(chunk)
        for refusal in message.refusals:
            self.serves = self.serves and refusal.reason is not Reason.UNAVAILABLE
            if refusal.request_id in self._sinks:
                self._sinks.pop(refusal.request_id).fail(_error(refusal))
        self._on_change()


def _lost() -> ServingError:
    """What the requests of a group see that is lost."""
    return ServingError(
        Reason.UNAVAILABLE,
        "The replica group that served this request was lost. Try again.",
        retry_after_s=_RETRY_AFTER_S,
    )


def _error(refusal: Refusal) -> ServingError:
    return ServingError(refusal.reason, refusal.message, refusal.retry_after_s)
