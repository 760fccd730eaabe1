"""Several generators as one: order, failure, closing."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serving.gateway.merge import merge


class Source:
    """Yields its items; then raises its error, waits for ever, or ends."""

    def __init__(self, *items: int, error: BaseException | None = None, endless: bool = False) -> None:
        self.items = items
        self.error = error
        self.endless = endless
        self.waiting = asyncio.Event()
        self.closed = False

    async def run(self) -> AsyncGenerator[int, None]:
        try:
            for item in self.items:
                yield item
            if self.error:
                raise self.error
            if self.endless:
                self.waiting.set()
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_all_items_come_each_source_in_its_order():
    sources = [Source(1, 2, 3), Source(), Source(10, 20)]
    items = [item async for item in merge([source.run() for source in sources])]
    assert sorted(items) == [1, 2, 3, 10, 20]
    assert [item for item in items if item < 10] == [1, 2, 3]


async def test_a_failed_source_fails_the_whole_and_closes_the_others():
    endless = Source(1, endless=True)
    with pytest.raises(ZeroDivisionError):
        async for _ in merge([endless.run(), Source(error=ZeroDivisionError()).run()]):
            pass
    assert endless.closed


async def test_a_source_cancelled_from_within_fails_the_whole():
    with pytest.raises(RuntimeError, match="cancelled from within"):
        async for _ in merge([Source(error=asyncio.CancelledError()).run()]):
            pass


async def test_closing_closes_every_source_before_it_returns():
    sources = [Source(1, endless=True), Source(2, endless=True), Source(*range(100))]
    merged = merge([source.run() for source in sources])
    await anext(merged)
    await merged.aclose()
    assert [source.closed for source in sources] == [True] * 3


async def test_cancelling_the_consumer_closes_every_source():
    sources = [Source(endless=True), Source(endless=True)]

    async def consume() -> None:
        async for _ in merge([source.run() for source in sources]):
            pass

    consumer = asyncio.create_task(consume())
    await asyncio.gather(*(source.waiting.wait() for source in sources))
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert all(source.closed for source in sources)


async def test_sources_that_take_too_long_are_closed():
    source = Source(1, endless=True)
    with pytest.raises(TimeoutError):
        async for _ in merge([source.run()], timeout_s=0.01):
            pass
    assert source.closed
