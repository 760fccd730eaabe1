"""self_check: whether a set of tasks can tell right from wrong on this machine, before a model is judged by it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.evaluation.sandbox import Sandbox
from serving.evaluation.task import Task
from serving.evaluation.toolchains import Toolchain


@dataclass(frozen=True)
class SelfCheck:
    """Tasks that judge wrongly.

    Attributes:
      canonical_failed: those whose own solution does not pass, and how it ended.
      empty_passed: those that an empty answer solves.
    """

    canonical_failed: dict[str, str]
    empty_passed: list[str]

    def unknown(self, known_bad: frozenset[str]) -> list[str]:
        """The names of those that nobody has said to be known."""
        return [name for name in (*self.canonical_failed, *self.empty_passed) if name not in known_bad]


async def self_check(
    tasks: Sequence[Task], toolchain: Toolchain, sandbox: Sandbox, parallel: int, on_program: Callable[[], None]
) -> SelfCheck:
    """Runs every task with its own solution and with nothing.

    Args:
      tasks: of one set.
      toolchain: of its language.
      sandbox: where programs run.
      parallel: so many at once.
      on_program: called for each task twice.
    """
    places = asyncio.Semaphore(parallel)
    running: dict[str, asyncio.Task[str]] = {}

    async def run(program: str) -> str:
        async with places:
            outcome = await sandbox.run(program, toolchain)
        return outcome.how if outcome.passed else f"{outcome.how}: {outcome.detail}".rstrip(": ")

    async def once(program: str) -> str:
        """Tasks that differ in the place of the hole have the same program when it is filled."""
        if program not in running:
            running[program] = asyncio.create_task(run(program))
        how = await running[program]
        on_program()
        return how

    canonical = await asyncio.gather(*(once(task.program(task.canonical)) for task in tasks))
    empty = await asyncio.gather(*(once(task.program("")) for task in tasks))
    return SelfCheck(
        canonical_failed={task.name: how for task, how in zip(tasks, canonical, strict=True) if how != "passed"},
        empty_passed=[task.name for task, how in zip(tasks, empty, strict=True) if how == "passed"],
    )
