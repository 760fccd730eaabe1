"""Whether tasks can tell right from wrong is found out once, in whatever pieces, and again where it may be mended."""

from collections.abc import Callable
from typing import Any

import pytest

from serving.evaluation.sandbox import Sandbox
from serving.evaluation.self_check import SelfCheck, self_check
from serving.evaluation.task import Task
from serving.evaluation.task_sets.humaneval import read_humaneval
from serving.evaluation.task_sets.infilling import read_infilling
from serving.evaluation.task_sets.mbpp import read_mbpp
from serving.evaluation.toolchains import python
from serving.evaluation.verdicts import Verdict, Verdicts
from tests.evaluation.conftest import HOLES
from tests.evaluation.test_task_sets import HEAD, MBPP


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that the sandbox has run."""
    programs: list[str] = []
    run = Sandbox.run

    async def counted(self: Sandbox, source: str, *arguments: Any) -> object:
        programs.append(source)
        return await run(self, source, *arguments)

    monkeypatch.setattr(Sandbox, "run", counted)
    return programs


async def check(
    tasks: list[Task],
    sandbox: Sandbox,
    kept: list[Verdict] | None = None,
    *,
    version: str = "1",
    known_bad: frozenset[str] = frozenset(),
    on_program: Callable[[], None] = lambda: None,
) -> SelfCheck:
    """Checks tasks with what was kept of earlier checks."""
    kept = [] if kept is None else kept
    verdicts = Verdicts(version, list(kept), kept.append)
    return await self_check(
        tasks, python(), sandbox, verdicts, known_bad=known_bad, parallel=2, on_program=on_program
    )  # fmt: skip


def faulty() -> list[Task]:
    """A right task, one that an empty answer solves and one that its own solution does not."""
    useless = {**HOLES[0], "task_id": "useless", "prompt": HOLES[0]["prompt"] + "    c = a + b\n"}
    wrong = {**HOLES[1], "task_id": "wrong", "canonical_solution": "    return a\n"}
    return read_infilling([HOLES[2], useless, wrong])[0]


@pytest.mark.parametrize(
    "tasks",
    [read_infilling(HOLES)[0], read_humaneval([HEAD])[0], read_mbpp(MBPP)[0]],
    ids=["holes", "heads", "sentences"],
)
async def test_own_solutions_pass_and_empty_answers_do_not(tasks: list[Task], sandbox: Sandbox) -> None:
    told: list[None] = []
    found = await check(tasks, sandbox, on_program=lambda: told.append(None))
    assert (found.canonical_failed, found.empty_passed) == ({}, [])
    assert len(told) == 2 * len(tasks)


async def test_tasks_that_judge_wrongly_are_named(sandbox: Sandbox) -> None:
    found = await check(faulty(), sandbox)
    assert found.canonical_failed == {"wrong": "failed: AssertionError"}
    assert found.empty_passed == ["useless"]


async def test_a_check_that_was_interrupted_goes_on_and_runs_nothing_twice(sandbox: Sandbox, ran: list[str]) -> None:
    tasks = read_infilling(HOLES)[0]
    kept: list[Verdict] = []
    await check(tasks[:3], sandbox, kept)
    before = len(ran)
    whole = await check(tasks, sandbox, kept)
    assert len(ran) - before == 2
    assert whole == await check(tasks, sandbox, kept)
    assert len(ran) - before == 2


async def test_what_judged_wrongly_is_tried_again_unless_it_is_known(sandbox: Sandbox, ran: list[str]) -> None:
    kept: list[Verdict] = []
    first = await check(faulty(), sandbox, kept)
    before = len(ran)
    assert await check(faulty(), sandbox, kept) == first
    assert len(ran) - before == 2
    assert await check(faulty(), sandbox, kept, known_bad=frozenset({"wrong", "useless"})) == first
    assert len(ran) - before == 2


async def test_another_version_of_a_toolchain_runs_all_of_it(sandbox: Sandbox, ran: list[str]) -> None:
    tasks = read_infilling(HOLES[:1])[0]
    kept: list[Verdict] = []
    for version, programs in (("1", 2), ("1", 2), ("2", 4)):
        await check(tasks, sandbox, kept, version=version)
        assert len(ran) == programs
