"""merge: several asynchronous generators as one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing


async def merge[T](
    sources: Sequence[AsyncGenerator[T, None]], timeout_s: float | None = None
) -> AsyncGenerator[T, None]:
    """The items of all sources as they come.

    Each source runs, and is closed, in a task of its own. When this generator ends in whatever way (all items
    are out, a source failed, it was closed or cancelled), every source has been closed.

    Raises:
      TimeoutError: the sources took longer than `timeout_s`, the time of the one who takes the items included.
      Exception: what a source raised first.
    """
    items: asyncio.Queue[T | _Ended] = asyncio.Queue(maxsize=len(sources))
    pumps = [asyncio.create_task(_pump(source, items, timeout_s)) for source in sources]
    running = len(pumps)
    try:
        while running:
            item = await items.get()
            if not isinstance(item, _Ended):
                yield item
            elif item.error:
                raise item.error
            else:
                running -= 1
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


class _Ended:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def _pump[T](
    source: AsyncGenerator[T, None], items: "asyncio.Queue[T | _Ended]", timeout_s: float | None
) -> None:
    ended = _Ended()
    try:
        async with asyncio.timeout(timeout_s), aclosing(source):
            async for item in source:
                await items.put(item)
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise  # `merge` is closing
        ended = _Ended(RuntimeError(f"a source was cancelled from within: {error!r}"))
    except Exception as error:
        ended = _Ended(error)
    await items.put(ended)
