"""AsyncStream: an answer that comes in parts."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc

from codegemma.client.errors import CancelledError, api_error


class AsyncStream[R](AsyncIterator[R]):
    """Iterates over the parts of an answer.

    Closing it cancels the call, which ends the server's work; so does cancelling the task that waits for a part,
    dropping the stream before its end, or leaving it as a context manager. A closed stream has no further parts.
    """

    def __init__(self, call: Any) -> None:
        """Takes over a call that `grpc.aio` has started."""
        self._call = call
        self._is_closed = False

    async def __anext__(self) -> R:
        try:
            part = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise api_error(error) from None
        except asyncio.CancelledError:
            if self._is_closed:
                raise StopAsyncIteration from None
            raise_if_cut_off()
            raise
        if part is grpc.aio.EOF:
            raise StopAsyncIteration
        received: R = part
        return received

    async def aclose(self) -> None:
        """Cancels the call; does nothing after its end."""
        self._is_closed = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


def raise_if_cut_off() -> None:
    """Tells apart, once `asyncio.CancelledError` was caught, who cancelled: gRPC raises it for any CANCELLED status.

    Raises:
      CancelledError: the call was cancelled, but not by this task.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        raise CancelledError(grpc.StatusCode.CANCELLED, "The call was cut off. Ask again.") from None
