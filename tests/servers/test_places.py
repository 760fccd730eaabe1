"""Whoever waits has a place; one more than there are takes that of who has waited longest."""

import asyncio

import pytest

from serving.servers.places import DisplacedError, Places


async def _wait(places: Places, within_s: float | None = None) -> str:
    try:
        async with places.taken(within_s):
            await asyncio.Event().wait()
    except DisplacedError:
        return "displaced"
    except TimeoutError:
        return "over"
    return "never"


async def test_the_oldest_waits_no_longer_when_one_more_comes() -> None:
    places = Places(2)
    first, second, third = (asyncio.create_task(_wait(places)) for _ in range(3))
    assert await first == "displaced"
    assert not second.done() and not third.done()
    fourth = asyncio.create_task(_wait(places))
    assert await second == "displaced"
    for task in (third, fourth):
        task.cancel()
    await asyncio.gather(third, fourth, return_exceptions=True)
    fifth, sixth = (asyncio.create_task(_wait(places, 0)) for _ in range(2))  # places that are free again
    assert {await fifth, await sixth} == {"over"}


async def test_who_does_not_wait_any_more_ends_nobody() -> None:
    places = Places(1)
    for _ in range(3):
        async with places.taken():
            pass
    async with places.taken(1000):
        await asyncio.sleep(0)


async def test_time_that_is_over_as_another_comes_is_no_fault() -> None:
    places = Places(1)

    async def late() -> str:
        try:
            async with places.taken(0):
                await asyncio.sleep(0)
                await asyncio.Event().wait()
        except TimeoutError:
            return "over"
        return "never"

    assert await asyncio.gather(*(late() for _ in range(5))) == ["over"] * 5


@pytest.mark.parametrize("number", [1, 3])
async def test_a_fault_in_the_block_is_that_fault(number: int) -> None:
    places = Places(number)
    for _ in range(2 * number):
        with pytest.raises(ValueError, match="mine"):
            async with places.taken(1000):
                raise ValueError("mine")
