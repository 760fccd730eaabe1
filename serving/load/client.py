"""Clients of the two protocols, as thin as they can be: a load must not wait for its own clients."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
import grpc
from codegemma.v1.code_assist_service_pb2 import StreamChatRequest, StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput

from serving.gateway.request import FimPrompt, Speaker
from serving.load.ask import Ask

_OPENAI_ROLES = {Speaker.SYSTEM: "system", Speaker.USER: "user", Speaker.MODEL: "assistant"}
_GRPC_ROLES = {
    Speaker.SYSTEM: ChatMessage.ROLE_SYSTEM,
    Speaker.USER: ChatMessage.ROLE_USER,
    Speaker.MODEL: ChatMessage.ROLE_MODEL,
}


class RefusedError(Exception):
    """The service said no, or the connection ended; the message is the reason in one word."""


class Client(Protocol):
    """Asks over one protocol."""

    def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        """The answer's text as it comes; closing the generator cancels the request.

        Raises:
          RefusedError: what the service said instead.
        """
        ...


class HttpClient:
    """OpenAI's API, streamed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        """As `Client.answer`."""
        body: dict[str, object] = {"max_tokens": ask.max_tokens, "stream": True, "temperature": 0}
        if isinstance(ask.prompt, FimPrompt):
            path = "v1/completions"
            body |= {"prompt": ask.prompt.prefix, "suffix": ask.prompt.suffix}
        else:
            path = "v1/chat/completions"
            messages = [{"role": _OPENAI_ROLES[each.speaker], "content": each.text} for each in ask.prompt]
            body |= {"messages": messages}
        try:
            async with self._session.post(path, json=body, headers={"x-session-id": ask.session}) as response:
                if response.status != 200:
                    raise RefusedError(_reason(await response.read(), response.status))
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        yield _text(json.loads(line[6:]))
                    elif line.startswith(b"data: [DONE]"):
                        return
                raise RefusedError("connection lost")
        except aiohttp.ClientError as error:
            raise RefusedError(type(error).__name__) from None


class GrpcClient:
    """`codegemma.v1`, streamed."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str) -> None:
        self._stub = CodeAssistServiceStub(channel)
        self._metadata = [("authorization", f"Bearer {api_key}")] if api_key else []

    async def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        """As `Client.answer`."""
        config = GenerationConfig(max_tokens=ask.max_tokens)
        if isinstance(ask.prompt, FimPrompt):
            fim = FimInput(prefix=ask.prompt.prefix, suffix=ask.prompt.suffix)
            request = StreamCompleteRequest(fim=fim, generation_config=config, session_id=ask.session)
            call = self._stub.StreamComplete(request, metadata=self._metadata)
        else:
            messages = [ChatMessage(role=_GRPC_ROLES[each.speaker], text=each.text) for each in ask.prompt]
            chat = StreamChatRequest(messages=messages, generation_config=config, session_id=ask.session)
            call = self._stub.StreamChat(chat, metadata=self._metadata)
        try:
            async for part in call:
                yield part.choice.text
        except grpc.aio.AioRpcError as error:
            raise RefusedError(error.code().name.lower()) from None
        finally:
            call.cancel()


@asynccontextmanager
async def http_client(url: str, api_key: str) -> AsyncIterator[HttpClient]:
    """A client of the service at `url`, which may have a path."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, connect=10)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"{url}/", headers=headers, timeout=timeout, connector=connector) as session:
        yield HttpClient(session)


@asynccontextmanager
async def grpc_client(target: str, api_key: str) -> AsyncIterator[GrpcClient]:
    """A client of the service at HOST:PORT."""
    async with grpc.aio.insecure_channel(target) as channel:
        yield GrpcClient(channel, api_key)


def _text(event: dict[str, object]) -> str:
    if isinstance(error := event.get("error"), dict):
        raise RefusedError(str(error.get("code")))
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices:
        return ""
    choice = choices[0]
    return str(choice.get("text") or (choice.get("delta") or {}).get("content") or "")


def _reason(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}"
