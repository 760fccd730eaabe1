"""run_load: so many developers at once, for so long."""

import asyncio
import random
from collections.abc import Callable
from enum import StrEnum

from serving.load.ask import Outcome
from serving.load.client import Client
from serving.load.measured_client import MeasuredClient
from serving.load.users import asks, types


class Workload(StrEnum):
    """What the developers do."""

    TYPING = "typing"
    CHAT = "chat"
    MIXED = "mixed"
    """Three quarters of them type."""


async def run_load(
    client: Client,
    load: Workload,
    *,
    users: int,
    seconds: float,
    typing_tokens: int,
    chat_tokens: int,
    seed: int,
    on_second: Callable[[float, list[Outcome]], None] = lambda elapsed_s, outcomes: None,
) -> tuple[list[Outcome], float]:
    """Lets developers work. What is open at the end is not among their requests.

    Args:
      client: takes the requests.
      load: what the developers do.
      users: how many there are.
      seconds: for how long.
      typing_tokens: at most, of a completion.
      chat_tokens: at most, of an answer.
      seed: equal seeds type equal code at equal times, as far as the service lets them.
      on_second: called every second with the time and with what there is so far.

    Returns:
      What became of the requests, and the seconds that it took: more than asked for where this machine was too busy.
    """
    measured = MeasuredClient(client)
    tasks = []
    for number in range(users):
        rng = random.Random(seed * 1_000_003 + number)
        is_typing = load is Workload.TYPING or (load is Workload.MIXED and number % 4 != 1)
        behaviour, tokens = (types, typing_tokens) if is_typing else (asks, chat_tokens)
        tasks.append(asyncio.create_task(behaviour(measured, f"user-{number}", tokens, rng)))
    while (left_s := seconds - measured.elapsed_s) > 0:
        await asyncio.sleep(min(1.0, left_s))
        if broken := next((task for task in tasks if task.done()), None):
            broken.result()  # raises what ended it; developers do not stop by themselves
        on_second(measured.elapsed_s, measured.outcomes)
    elapsed_s = measured.elapsed_s
    measured.over = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return measured.outcomes, elapsed_s
