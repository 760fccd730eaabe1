"""Mixed streams as clients have them: completions and chat, over HTTP and gRPC, and how each one ended."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import grpc
from codegemma.v1.code_assist_service_pb2 import StreamChatRequest, StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput

from serving.errors import WIRE_ERRORS, Reason
from tests.service.ray_cluster import Addresses

KINDS = ("HTTP completion", "HTTP chat", "gRPC completion", "gRPC chat")


@dataclass(frozen=True)
class Ended:
    """How a stream ended.

    Attributes:
      failure: empty if it is complete; otherwise the error that the client got.
      retryable: whether that says that the same request may succeed later. A lost connection does.
    """

    text: str
    seconds: float
    failure: str = ""
    retryable: bool = False


class MixedClients:
    """Streams over one HTTP session and one gRPC channel."""

    def __init__(self, http: aiohttp.ClientSession, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._http = http
        self._stub = CodeAssistServiceStub(channel)
        self._timeout_s = timeout_s
        self._timeout = timedelta(seconds=timeout_s)

    async def stream(
        self, kind: str, prompt: str, max_tokens: int, on_text: Callable[[], object] = lambda: None
    ) -> Ended:
        """Reads a whole stream, and calls `on_text` with each piece of it; never raises what a server can cause."""
        started = time.monotonic()
        text = ""
        failure, retryable = "", False
        try:
            async with aclosing(self._pieces(kind, prompt, max_tokens)) as pieces:
                async for piece in pieces:
                    text += piece
                    on_text()
        except _RefusedError as refused:
            failure, retryable = str(refused), refused.retryable
        except aiohttp.ClientError as error:
            failure, retryable = f"connection lost: {error!r}", True
        except grpc.aio.AioRpcError as error:
            failure = f"{error.code().name}: {error.details()}"
            # HAProxy resets a stream whose Gateway is lost, and gRPC calls that CANCELLED.
            reset = error.code() is grpc.StatusCode.CANCELLED and "RST_STREAM" in (error.details() or "")
            retryable = reset or error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        return Ended(text, time.monotonic() - started, failure, retryable)

    def _pieces(self, kind: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        config = GenerationConfig(max_tokens=max_tokens)
        match kind:
            case "HTTP completion":
                return self._events("/v1/completions", max_tokens, {"prompt": prompt, "suffix": "\n"})
            case "HTTP chat":
                messages = [{"role": "user", "content": prompt}]
                return self._events("/v1/chat/completions", max_tokens, {"messages": messages})
            case "gRPC completion":
                fim = FimInput(prefix=prompt, suffix="\n")
                request = StreamCompleteRequest(fim=fim, generation_config=config, timeout=self._timeout)
                return self._parts(self._stub.StreamComplete(request))
            case _:
                user = ChatMessage(role=ChatMessage.ROLE_USER, text=prompt)
                chat = StreamChatRequest(messages=[user], generation_config=config, timeout=self._timeout)
                return self._parts(self._stub.StreamChat(chat))

    async def _events(self, path: str, max_tokens: int, prompt: dict[str, object]) -> AsyncGenerator[str, None]:
        fields = {**prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True, "timeout": self._timeout_s}
        async with self._http.post(path, json=fields) as response:
            if response.status != 200:
                retryable = response.status in (429, 503) and "retry-after" in response.headers
                raise _RefusedError(f"{response.status}: {(await response.text())[:200]}", retryable)
            async for line in response.content:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    return
                if data:
                    yield _text_of(json.loads(data))
        raise aiohttp.ClientPayloadError("the stream ended without [DONE]")

    async def _parts(self, call: AsyncIterator[object]) -> AsyncGenerator[str, None]:
        async for part in call:
            yield part.choice.text  # type: ignore[attr-defined]


class _RefusedError(Exception):
    def __init__(self, message: str, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def _text_of(event: dict[str, object]) -> str:
    match event:
        case {"error": {"code": code, "message": message}}:
            raise _RefusedError(f"{code}: {message}", WIRE_ERRORS[Reason(code)].retryable)
        case {"choices": [{"text": str(text)}]} | {"choices": [{"delta": {"content": str(text)}}]}:
            return text
        case _:
            return ""


@asynccontextmanager
async def mixed_clients(addresses: Addresses, timeout_s: float) -> AsyncIterator[MixedClients]:
    """Clients whose requests are worthless after so long."""
    async with (
        aiohttp.ClientSession(addresses.url, connector=aiohttp.TCPConnector(limit=0)) as http,
        grpc.aio.insecure_channel(addresses.grpc_target) as channel,
    ):
        yield MixedClients(http, channel, timeout_s)


async def until(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Waits for a condition and returns the seconds that took.

    Raises:
      TimeoutError: says what did not come about.
    """
    started = time.monotonic()
    while not await asyncio.to_thread(condition):
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.2)
    return time.monotonic() - started
