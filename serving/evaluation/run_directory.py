"""RunDirectory: what a run has found out so far, on disk, so that it can be interrupted at any moment and go on.

`run.json` says what is evaluated and how, `results.jsonl` has a line for each task that is done, `self-check.jsonl` one
for each program of the self-check, and `self-check.json` what that found. `report.json` and `report.md` are written
from these.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.evaluation.json_lines import JsonLines
from serving.evaluation.run_error import RunError
from serving.evaluation.sandbox import PASSED
from serving.evaluation.verdicts import Verdict

NOT_ANSWERED = "not answered"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a task.

    Attributes:
      task_set, task, problem: which it is.
      answer: what the model wrote.
      finish_reason: `stop`, `length`, or nothing for a task that was not answered.
      how, detail: how the program with the answer ended, as `Outcome` has it; or NOT_ANSWERED and the service's reason.
      prompt_tokens, completion_tokens, cached_tokens: as the service counted them.
      started, seconds: when it was asked, since 1970, and how long the answer took.
    """

    task_set: str
    task: str
    problem: str
    answer: str
    finish_reason: str
    how: str
    detail: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    started: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the task is solved."""
        return self.how == PASSED

    @property
    def answered(self) -> bool:
        """Whether the model wrote anything; a service refuses what is longer than its context."""
        return self.how != NOT_ANSWERED


class RunDirectory:
    """A directory of one run: one model, one way of asking.

    Attributes:
      results: what is done, in the order in which it was.
      verdicts: how the self-check's programs ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results = JsonLines(path / "results.jsonl", Result)
        self.verdicts = JsonLines(path / "self-check.jsonl", Verdict)

    def begin(self, settings: dict[str, Any]) -> None:
        """Starts the run, or goes on with it.

        Args:
          settings: everything that the results depend on.

        Raises:
          RunError: another run, with other settings, is there.
        """
        file = self.path / "run.json"
        if not file.exists():
            _write(file, settings)
            return
        there = self.settings()
        for name in sorted(there.keys() | settings.keys()):
            if there.get(name) != settings.get(name):
                raise RunError(
                    f"{self.path} is of a run with {name} {there.get(name)!r}, not {settings.get(name)!r}: choose "
                    "another with --out, or ask as it did."
                )

    def settings(self) -> dict[str, Any]:
        """What the run was begun with.

        Raises:
          RunError: there is no run.
        """
        return _read(self.path / "run.json")

    def checked(self) -> dict[str, Any]:
        """What the self-check found, by set."""
        file = self.path / "self-check.json"
        return _read(file) if file.exists() else {}

    def write_json(self, name: str, value: Any) -> None:
        """Writes a file whole or not at all."""
        _write(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file."""
        (self.path / name).write_text(text, encoding="utf-8")


def _write(file: Path, value: Any) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file}: {error.strerror}. Is this a directory of `codegemma eval run`?") from None
    except ValueError as error:
        raise RunError(f"{file}: {error}. It was written by something else.") from None
    if not isinstance(value, dict):
        raise RunError(f"{file}: expected an object. It was written by something else.")
    return value
