"""run_load: how long it went on, and what came of it."""

import time
from collections.abc import AsyncGenerator, Callable

import pytest

from serving.load.ask import Ask, Outcome
from serving.load.run import Workload, run_load


class Prompt:
    """A client that always has an answer."""

    async def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        yield "x"


class Broken:
    """A client with a bug."""

    async def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        raise KeyError("bug")
        yield


OnSecond = Callable[[float, list[Outcome]], None]


async def run(
    seconds: float, client: Prompt | Broken, on_second: OnSecond = lambda elapsed_s, outcomes: None
) -> tuple[list[Outcome], float]:
    return await run_load(
        client, Workload.TYPING, users=8, seconds=seconds, typing_tokens=8, chat_tokens=8, seed=0, on_second=on_second
    )


async def test_the_time_is_what_it_took_not_what_was_asked_for() -> None:
    def busy(elapsed_s: float, outcomes: list[Outcome]) -> None:
        time.sleep(0.2)  # as a machine that has too much to do

    began = time.monotonic()
    _, elapsed_s = await run(1.1, Prompt(), busy)
    assert 1.2 <= elapsed_s <= time.monotonic() - began


async def test_a_part_of_a_second_counts() -> None:
    assert (await run(0.3, Prompt()))[1] >= 0.3


async def test_no_outcome_is_later_than_the_end() -> None:
    outcomes, elapsed_s = await run(2.0, Prompt())
    assert outcomes
    assert all(outcome.started_s + outcome.total_s <= elapsed_s for outcome in outcomes)


async def test_a_bug_of_a_client_ends_the_load() -> None:
    with pytest.raises(KeyError, match="bug"):
        await run(30, Broken())
