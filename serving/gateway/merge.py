"""merge: several asynchronous generators as one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing


async def merge[T](
    sources: Sequence[AsyncGenerator[T, None]], timeout_s: float | None = None
) -> AsyncGenerator[T, None]:
    """The items of all sources as they come.

    When this generator ends in whatever way (all items are out, a source failed, it was closed or cancelled), every
    source has been closed. Several sources run in a task each; one alone needs none.

    Raises:
      TimeoutError: the sources took longer than `timeout_s`, the time of the one who takes the items included.
      Exception: what a source raised first.
    """
    deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    if len(sources) == 1:
        async with aclosing(_until(deadline, sources[0])) as alone:
            async for only in alone:
                yield only
        return
    items: asyncio.Queue[T | _Ended] = asyncio.Queue(maxsize=len(sources))
    pumps = [asyncio.create_task(_pump(source, items, deadline)) for source in sources]
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


async def _pump[T](source: AsyncGenerator[T, None], items: "asyncio.Queue[T | _Ended]", deadline: float | None) -> None:
    ended = _Ended()
    try:
        async with aclosing(_until(deadline, source)) as timely:
            async for item in timely:
                await items.put(item)
    except Exception as error:
        ended = _Ended(error)
    await items.put(ended)


async def _until[T](deadline: float | None, source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The items of a source that is closed at the end, or at the deadline."""
    async with aclosing(source):
        while True:
            try:
                async with asyncio.timeout_at(deadline):  # not around `yield`: each item may be taken by another task
                    item = await anext(source)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise  # whoever takes the items is being cancelled
                raise RuntimeError(f"a source was cancelled from within: {error!r}") from error
            yield item
