"""SelfCheck: whether a Gateway's own ports still answer, for Ray Serve to replace it when they do not."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc

_TIMEOUT_S = 5.0
"""An event loop that is held for longer counts as dead; Ray Serve asks three times before it replaces a Gateway."""
# The checks must not wait for a place among the requests: a full Gateway is healthy.
_HTTP_PATH = "/-/healthz"  # answered by Ray Serve in the Gateway
_NO_METHOD = "/codegemma.SelfCheck/Check"  # so that the server itself answers
_NO_ANSWER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a client makes of a server that says nothing. Any other status is an answer."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a Gateway listens: HOST:PORT by protocol; None for one that it does not serve, or not yet."""

    http: str | None
    grpc: str | None


class SelfCheck:
    """Asks a Gateway as HAProxy does, over connections that it keeps."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._channel: tuple[str, grpc.aio.Channel] | None = None

    async def check(self, ports: Ports) -> None:
        """Ask each port that there is.

        Raises:
          RuntimeError: one of them does not answer, whatever the answer would be.
        """
        await asyncio.gather(self._check_http(ports.http), self._check_grpc(ports.grpc))

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
        if self._channel is not None:
            await self._channel[1].close()

    async def _check_http(self, address: str | None) -> None:
        if address is None:
            return
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            async with self._session.get(f"http://{address}{_HTTP_PATH}", timeout=timeout) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RuntimeError(f"HTTP does not answer at {address}: {error!r}.") from error

    async def _check_grpc(self, address: str | None) -> None:
        if address is None:
            return
        if self._channel is None or self._channel[0] != address:
            self._channel = address, grpc.aio.insecure_channel(address)
        ask: Any = self._channel[1].unary_unary(_NO_METHOD)  # type stubs want a serializer, and bytes need none
        try:
            await ask(b"", timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_ANSWER:
                raise RuntimeError(f"gRPC does not answer at {address}: {error.details()}.") from error
