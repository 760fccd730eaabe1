"""while_connected: work for a client that stops the moment the client goes away."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive


class ClientGoneError(Exception):
    """The client closed the connection before the answer was complete."""


async def while_connected[T](receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client goes away.

    Starlette lets the handler of a request run on after its client is gone.

    Raises:
      ClientGoneError: the client went away; `work` has ended.
    """
    working = asyncio.current_task()
    assert working is not None
    cancellations = working.cancelling()
    watching = asyncio.create_task(_cancel_once_gone(receive, working))
    try:
        return await work
    except asyncio.CancelledError:
        # As `asyncio.timeout` does: another cancellation beside ours is not ours to swallow.
        if watching.done() and not watching.cancelled() and working.uncancel() <= cancellations:
            raise ClientGoneError from None
        raise
    finally:
        watching.cancel()


async def _cancel_once_gone(receive: Receive, working: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    working.cancel()
