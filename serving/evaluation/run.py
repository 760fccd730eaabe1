"""Run: an evaluation from its first check to its report, in whatever steps it is interrupted."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from serving.evaluation.evaluate import Question, evaluate
from serving.evaluation.performance import Performance
from serving.evaluation.report import Report, score
from serving.evaluation.run_directory import Result, RunDirectory
from serving.evaluation.sandbox import Sandbox
from serving.evaluation.self_check import self_check
from serving.evaluation.service import Service
from serving.evaluation.task import Task
from serving.evaluation.task_sets.task_set import PYTHON_END, DataError, TaskSet
from serving.evaluation.toolchains import MissingToolchainError, Toolchain, find_toolchain, python
from serving.evaluation.verdicts import Verdicts


class SelfCheckError(Exception):
    """A set judges wrongly and is not listed as known to; the message says how to go on."""


class Watcher(Protocol):
    """Receives the progress of a run."""

    def phase(self, name: str, total: int, done: Sequence[Result] = ()) -> Callable[[Result | None], None]:
        """A phase begins, of which some is done; returns what is called for each step of it."""
        ...


@dataclass(frozen=True)
class LoadedSet:
    """A set that this machine can evaluate."""

    task_set: TaskSet
    tasks: list[Task]
    left_out: list[str]
    toolchain: Toolchain
    sha256: str


@dataclass
class LoadedSets:
    """Those that were asked for.

    Attributes:
      missing: why the others cannot be evaluated, by name.
    """

    loaded: list[LoadedSet] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, task_sets: Sequence[TaskSet], directory: Path, count: int | None) -> "LoadedSets":
        """Reads the sets; of each `count` tasks, spread evenly, or all."""
        found = cls()
        for task_set in task_sets:
            try:
                toolchain = find_toolchain(task_set.language)
                tasks, left_out = task_set.load(directory)
                sha256 = hashlib.sha256(task_set.find(directory).read_bytes()).hexdigest()
            except (DataError, MissingToolchainError) as error:
                found.missing[task_set.name] = str(error)
                continue
            few = min(count or len(tasks), len(tasks))
            tasks = [tasks[index * len(tasks) // few] for index in range(few)]
            found.loaded.append(LoadedSet(task_set, tasks, left_out, toolchain, sha256))
        return found


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is evaluated, and how.

    Attributes:
      sets: what is asked.
      directory: keeps what comes of it.
      sandbox: where programs run.
      post_processing: whether the service ends filled-in code with its block, as it does for editors.
      known_bad: names of tasks that may judge wrongly.
      watcher: receives the progress.
    """

    sets: LoadedSets
    directory: RunDirectory
    sandbox: Sandbox
    post_processing: bool
    known_bad: frozenset[str]
    watcher: Watcher

    def settings(self, model: dict[str, Any]) -> dict[str, Any]:
        """All that the results depend on."""
        loaded = self.sets.loaded
        return {
            "model": model["id"],
            "model_version": model.get("version"),
            "fill_in_the_middle": model.get("fim"),
            "tasks": {each.task_set.name: len(each.tasks) for each in loaded},
            "max_tokens": {each.task_set.name: each.task_set.max_tokens for each in loaded},
            "post_processing": self.post_processing,
            "data_sha256": {each.task_set.name: each.sha256 for each in loaded},
        }

    async def check(self) -> None:
        """Makes sure that there is a sandbox and that every set tells right from wrong.

        Raises:
          SandboxError: there is none.
          SelfCheckError: a set does not.
          RunError: another process writes the directory, or a line of it is no verdict.
        """
        await self.sandbox.check(python(), PYTHON_END)
        checked = {}
        with self.directory.verdicts.appending() as keep:
            known = self.directory.verdicts.read()
            for each in self.sets.loaded:
                step = self.watcher.phase(f"{each.task_set.name}: self-check", 2 * len(each.tasks))
                checked[each.task_set.name] = asdict(
                    await self_check(
                        each.tasks,
                        each.toolchain,
                        self.sandbox,
                        Verdicts(each.toolchain.version(), known, keep),
                        known_bad=self.known_bad,
                        parallel=_cores(),
                        on_program=partial(step, None),
                    )
                )
        self.directory.write_json("self-check.json", checked)
        bad = {name: how for each in self.sets.loaded for name, how in self._bad(each).items()}
        unknown = {name: how for name, how in bad.items() if name not in self.known_bad}
        if unknown:
            file = self.directory.path / "known-bad.txt"
            self.directory.write_text("known-bad.txt", "".join(f"{name}  # {how}\n" for name, how in bad.items()))
            raise SelfCheckError(
                f"{len(unknown)} tasks judge wrongly on this machine, {_first(unknown)}. If that is their fault and "
                f"not this machine's, go on with --known-bad {file}, which names them all: they count, as in published "
                "figures, and the report names them."
            )

    async def ask(self, service: Service, model: dict[str, Any], parallel: int) -> Report:
        """Asks what is still to be asked.

        Args:
          service: that serves the model.
          model: what it says of it.
          parallel: so many requests at once.

        Raises:
          RunError: the directory is of another run, or in use.
          ServiceError: the service failed; what was answered is kept.
        """
        self.directory.begin(self.settings(model))
        results = self.directory.results.read()
        try:
            with self.directory.results.appending() as keep:
                for each in self.sets.loaded:
                    name = each.task_set.name
                    done = {result.task: result for result in results if result.task_set == name}
                    left = [task for task in each.tasks if task.name not in done]
                    step = self.watcher.phase(name, len(each.tasks), list(done.values()))
                    await evaluate(
                        [Question(name, task, self._body(each, task, model["id"]), each.toolchain) for task in left],
                        service,
                        self.sandbox,
                        keep,
                        asking=parallel,
                        running=_cores(),
                        on_result=step,
                    )
        finally:  # an interrupted run has a report of what it has
            report = self.report()
        return report

    def report(self) -> Report:
        """What is known so far, also written into the directory."""
        results = self.directory.results.read()
        scores = [
            score(
                each.task_set,
                len(each.tasks),
                [result for result in results if result.task_set == each.task_set.name],
                list(self._bad(each)),
                each.left_out,
            )
            for each in self.sets.loaded
        ]
        report = Report(
            settings=self.directory.settings(),
            scores=scores,
            performance=Performance.of(results),
            missing=self.sets.missing,
        )
        self.directory.write_json("report.json", report.json())
        self.directory.write_text("report.md", report.markdown())
        return report

    def _body(self, each: LoadedSet, task: Task, model: str) -> dict[str, object]:
        body = {"model": model, "max_tokens": each.task_set.max_tokens, "temperature": 0, **task.request}
        return {**body, "post_processing": self.post_processing} if "suffix" in body else body

    def _bad(self, each: LoadedSet) -> dict[str, str]:
        """Of a set's tasks those that judge wrongly, and how, as it was found before."""
        checked = self.directory.checked()[each.task_set.name]
        bad = {name: f"its own solution: {how}" for name, how in checked["canonical_failed"].items()}
        return bad | {name: "an empty answer passes" for name in checked["empty_passed"]}


def _first(bad: dict[str, str]) -> str:
    name, how = next(iter(bad.items()))
    return f"{name} first ({how})"


def _cores() -> int:
    return os.cpu_count() or 1
