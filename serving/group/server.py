"""GroupServer: what the Gateways are linked to, in front of a group's engine."""

import asyncio
import hmac
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial

from aiohttp import WSMsgType, web

from serving.engine.engine import (
    AdapterNotFound,
    AdapterUnusable,
    DeadlineUnreachable,
    Engine,
    EngineUnavailable,
    PromptTooLong,
    QueueFull,
)
from serving.engine.request import GenerationChunk, GenerationRequest
from serving.errors import Reason
from serving.group.runner import GroupAdapterSource
from serving.link import Abort, FromGroup, GroupAddress, Refusal, Submit, Waiting, decode_to_group, encode

_RETRY_AFTER_S = 1.0
_TOGETHER_S = 0.02
"""Tokens of a request that come so soon after the last ones are sent with the next; not its first, and not its last.

No reader follows more than fifty updates a second, and a Gateway pays for each.
"""
_HEARTBEAT_S = 20.0
"""A Gateway whose machine is gone is noticed within one and a half times this; one whose process is gone, at once."""
_GOODBYE_S = 1.0
_KEY_TIMEOUT_S = 5.0
"""A new connection must present the key within this time."""
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of the requests in one message: more than the token ids of the longest context for each of them."""


class GroupServer:
    """Takes the requests of Gateways into an engine, and carries back what it generates.

    Runs in a thread of its own, so that neither the engine's steps nor Ray Serve's calls hold up a token. A link that
    ends, ends its requests.
    """

    def __init__(self, engine: Engine, host: str, adapters: GroupAdapterSource | None = None) -> None:
        """For an engine.

        Args:
          engine: generates.
          host: is the address to listen at; the port is any that is free.
          adapters: those that the engine has; None: none.
        """
        self._engine = engine
        self._adapters = adapters
        self._host = host
        self._key = secrets.token_urlsafe()
        self._links: tuple[_Link, ...] = ()  # replaced, never changed: the engine's thread reads it
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._runner: web.AppRunner | None = None

    def start(self) -> GroupAddress:
        """Listens; returns where."""
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return GroupAddress(f"http://{self._host}:{port}/", self._key)

    def stop(self) -> None:
        """Sends what is left to be sent, and ends every link."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def after_step(self) -> None:
        """Has every link send what there is to tell; called by the engine's thread."""
        now = time.monotonic()
        for link in self._links:
            link.release(now)
        self._flush()

    def _flush(self) -> None:
        load = self._engine.in_flight
        for link in self._links:
            link.flush(load)

    @property
    def waiting(self) -> int:
        """Requests that wait in the Gateways for a row in any group of the model."""
        return sum(link.waiting for link in self._links)

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_GOODBYE_S,
            keepalive_timeout=_KEY_TIMEOUT_S,  # until a request has come whole, too, but not during a link
            lingering_time=0,  # no body is read
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        for link in self._links:
            await link.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        shown, due = request.headers.get("Authorization", ""), f"Bearer {self._key}"
        # aiohttp decodes headers in this way, so that these are the bytes that came, UTF-8 or not.
        if not hmac.compare_digest(shown.encode(errors="surrogateescape"), due.encode()):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(
            timeout=_GOODBYE_S, heartbeat=_HEARTBEAT_S, compress=False, max_msg_size=_MAX_MESSAGE_BYTES
        )
        await socket.prepare(request)
        link = _Link(self._engine, self._adapters, socket)
        self._links = (*self._links, link)
        sender = asyncio.create_task(link.send())
        link.flush(self._engine.in_flight)
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await link.receive(message.data)
                    self._flush()
        finally:
            self._links = tuple(other for other in self._links if other is not link)
            sender.cancel()
            link.end()
        return socket


class _Link:
    """One Gateway, as a group knows it.

    Attributes:
      waiting: what it said last about requests that wait in it.
    """

    def __init__(self, engine: Engine, adapters: GroupAdapterSource | None, socket: web.WebSocketResponse) -> None:
        self.waiting = 0
        self._engine = engine
        self._adapters = adapters
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._open: set[str] = set()
        # Filled by the engine's thread, which alone knows what is held back, and when each request was last sent some.
        self._chunks: deque[tuple[str, GenerationChunk]] = deque()
        self._held: dict[str, GenerationChunk] = {}
        self._sent_at: dict[str, float] = {}
        self._refusals: list[Refusal] = []
        self._taken = 0
        self._load = -1  # as this Gateway knows it
        self._loaded: list[str] = []  # adapters, the same
        self._changed = asyncio.Event()
        self._waking = False

    async def receive(self, data: bytes) -> None:
        for message in decode_to_group(data):
            match message:
                case Submit(request):
                    await self._submit(request)
                case Abort(request_id):
                    self._engine.abort(request_id)
                case Waiting(requests):
                    self.waiting = requests

    def release(self, now: float) -> None:
        """Makes ready what was held back for long enough."""
        for request_id in [held for held in self._held if now >= self._sent_at[held] + _TOGETHER_S]:
            self._sent_at[request_id] = now
            self._chunks.append((request_id, self._held.pop(request_id)))

    def flush(self, load: int) -> None:
        """Has this link send, from whatever thread, if there is anything."""
        if (self._chunks or self._refusals or load != self._load) and not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._changed.set)

    async def send(self) -> None:
        """Sends what there is whenever there is something; what comes while the Gateway is slow goes together."""
        with suppress(ConnectionError):  # the loop that reads sees it too, and ends the link
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._waking = False
                await self._send_once()

    async def close(self) -> None:
        """Sends what is left and says goodbye."""
        with suppress(ConnectionError):
            await self._send_once()
        await self._socket.close()

    def end(self) -> None:
        """Ends the requests of a Gateway that is gone."""
        for request_id in self._open:
            self._engine.abort(request_id)

    async def _send_once(self) -> None:
        load = self._engine.in_flight  # read before the chunks: a request that has ended since is reported next time
        chunks = [self._chunks.popleft() for _ in range(len(self._chunks))]
        refusals, self._refusals = self._refusals, []
        loaded = self._engine.loaded_adapters
        news = None if loaded == self._loaded else loaded
        self._load, self._loaded = load, loaded
        self._open.difference_update(request_id for request_id, chunk in chunks if chunk.finish_reason is not None)
        message = FromGroup(load=load, taken=self._taken, chunks=chunks, refusals=refusals, adapters=news)
        await self._socket.send_bytes(encode(message))
        if self._engine.in_flight != load:  # a step that ended meanwhile compared with what was reported before
            self._changed.set()

    async def _submit(self, request: GenerationRequest) -> None:
        self._taken += 1
        self._load += 1  # the Gateway counts what it sends
        try:
            if request.adapter and self._adapters is not None:
                # One that is known already keeps nobody waiting. For another, what this Gateway says next waits, too.
                await self._adapters.look(request.adapter)
            self._engine.submit(request, partial(self._deliver, request.request_id))
            self._open.add(request.request_id)
        except PromptTooLong as error:
            self._refuse(request, Reason.CONTEXT_LENGTH_EXCEEDED, error)
        except TimeoutError:
            silent = TimeoutError(f"the disk with the adapter {request.adapter!r} does not answer. Try again.")
            self._refuse(
                request, Reason.OVERLOADED, silent, retry_after_s=_RETRY_AFTER_S
            )  # not UNAVAILABLE: others are served
        except AdapterNotFound as error:
            self._refuse(request, Reason.MODEL_NOT_FOUND, error)
        except AdapterUnusable as error:
            self._refuse(request, Reason.INVALID_ARGUMENT, error)
        except ValueError as error:
            self._refuse(request, Reason.INTERNAL, error)
        except QueueFull as error:
            self._refuse(request, Reason.OVERLOADED, error, retry_after_s=_RETRY_AFTER_S)
        except DeadlineUnreachable as error:
            self._refuse(request, Reason.DEADLINE_EXCEEDED, error)
        except EngineUnavailable as error:
            self._refuse(request, Reason.UNAVAILABLE, error, retry_after_s=_RETRY_AFTER_S)

    def _deliver(self, request_id: str, chunk: GenerationChunk) -> None:
        if request_id in self._held:
            chunk = self._held.pop(request_id).followed_by(chunk)
        if chunk.finish_reason is not None:
            self._sent_at.pop(request_id, None)
            self._chunks.append((request_id, chunk))
        elif request_id in self._sent_at:
            self._held[request_id] = chunk
        else:
            self._sent_at[request_id] = time.monotonic()
            self._chunks.appendleft((request_id, chunk))  # its receiver still waits for it

    def _refuse(
        self,
        request: GenerationRequest,
        reason: Reason,
        error: Exception,
        retry_after_s: float | None = None,
    ) -> None:
        self._refusals.append(Refusal(request.request_id, reason, str(error), retry_after_s))
