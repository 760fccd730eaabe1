"""self_check: whether a set of tasks can tell right from wrong on this machine, before a model is judged by it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.evaluation.sandbox import PASSED, Sandbox
from serving.evaluation.task import Task
from serving.evaluation.toolchains import Toolchain
from serving.evaluation.verdicts import Verdicts


@dataclass(frozen=True)
class SelfCheck:
    """Tasks that judge wrongly.

    Attributes:
      canonical_failed: those whose own solution does not pass, and how it ended.
      empty_passed: those that an empty answer solves.
    """

    canonical_failed: dict[str, str]
    empty_passed: list[str]


async def self_check(
    tasks: Sequence[Task],
    toolchain: Toolchain,
    sandbox: Sandbox,
    verdicts: Verdicts,
    *,
    known_bad: frozenset[str],
    parallel: int,
    on_program: Callable[[], None],
) -> SelfCheck:
    """Runs every task with its own solution and with nothing, unless it is known how that ends.

    A task that judged wrongly is tried again: what was at fault may have been the machine, and be mended.

    Args:
      tasks: of one set.
      toolchain: of its language.
      sandbox: where programs run.
      verdicts: what is known; what was found is added.
      known_bad: names of tasks that may judge wrongly.
      parallel: so many at once.
      on_program: called for each task twice.
    """
    places = asyncio.Semaphore(parallel)
    running: dict[str, asyncio.Task[str]] = {}

    async def run(program: str) -> str:
        async with places:
            outcome = await sandbox.run(program, toolchain)
        how = outcome.how if outcome.passed else f"{outcome.how}: {outcome.detail}".rstrip(": ")
        verdicts.add(program, how)
        return how

    async def how(task: Task, answer: str, right: bool) -> str:
        program = task.program(answer)
        known = verdicts.of(program)
        if known is None or ((known == PASSED) != right and task.name not in known_bad):
            # Tasks that differ in the place of the hole have the same program when it is filled.
            if program not in running:
                running[program] = asyncio.create_task(run(program))
            known = await running[program]
        on_program()
        return known

    canonical = await asyncio.gather(*(how(task, task.canonical, True) for task in tasks))
    empty = await asyncio.gather(*(how(task, "", False) for task in tasks))
    return SelfCheck(
        canonical_failed={task.name: how for task, how in zip(tasks, canonical, strict=True) if how != PASSED},
        empty_passed=[task.name for task, how in zip(tasks, empty, strict=True) if how == PASSED],
    )
