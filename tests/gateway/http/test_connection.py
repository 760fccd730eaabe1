"""Work for a client ends when the client goes away, and only then does it count as gone."""

import asyncio

import pytest
from starlette.types import Message

from serving.gateway.http.connection import ClientGoneError, while_connected


class Client:
    """Goes away when it is told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_work_has_its_result_while_the_client_waits() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    assert await while_connected(Client().receive, work()) == 1


async def test_work_is_cancelled_when_the_client_goes_away() -> None:
    client = Client()
    ended = asyncio.Event()

    async def work() -> None:
        client.gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ClientGoneError):
        await while_connected(client.receive, work())
    assert ended.is_set()
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()


async def test_a_cancellation_from_elsewhere_is_none_by_the_client() -> None:
    task = asyncio.create_task(while_connected(Client().receive, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_elsewhere_counts_though_the_client_goes_away_as_well() -> None:
    client = Client()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task.cancel()

    task = asyncio.create_task(while_connected(client.receive, work()))
    await asyncio.sleep(0)
    client.gone.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await while_connected(Client().receive, work())
