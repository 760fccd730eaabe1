"""RunDirectory: what a run has found out so far, on disk, so that it can be interrupted at any moment and go on.

`run.json` says what is evaluated and how, `results.jsonl` has a line for each task that is done, `self-check.json` the
verdict on the data. `report.json` and `report.md` are written from these.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NOT_ANSWERED = "not answered"


class RunError(Exception):
    """The directory cannot be used; the message says why and what to do."""


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
        return self.how == "passed"

    @property
    def answered(self) -> bool:
        """Whether the model wrote anything; a service refuses what is longer than its context."""
        return self.how != NOT_ANSWERED


class RunDirectory:
    """A directory of one run: one model, one way of asking."""

    def __init__(self, path: Path) -> None:
        self.path = path

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

    def results(self) -> list[Result]:
        """What is done, in the order in which it was.

        Raises:
          RunError: a line is no result.
        """
        file = self.path / "results.jsonl"
        if not file.exists():
            return []
        results = []
        for number, line in enumerate(
            file.read_bytes().split(b"\n")[:-1], 1
        ):  # a last line without its end was cut off
            try:
                results.append(Result(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RunError(
                    f"{file}: line {number} is no result: {error}. Delete it, and its task is asked again."
                ) from None
        return results

    @contextmanager
    def writing(self) -> Iterator["ResultWriter"]:
        """Adds results, as the only process that does.

        Raises:
          RunError: another one does.
        """
        with (self.path / "results.jsonl").open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"Another process is writing {self.path}. Wait for it, or name another with --out."
                ) from None
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            yield ResultWriter(file.fileno())

    def checked(self) -> dict[str, Any]:
        """The self-check's verdicts, by set."""
        file = self.path / "self-check.json"
        return _read(file) if file.exists() else {}

    def write_json(self, name: str, value: Any) -> None:
        """Writes a file whole or not at all."""
        _write(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file."""
        (self.path / name).write_text(text, encoding="utf-8")


class ResultWriter:
    """Writes a line for each result, at once."""

    def __init__(self, file: int) -> None:
        self._file = file

    def add(self, result: Result) -> None:
        """Adds a result."""
        os.write(self._file, json.dumps(asdict(result)).encode() + b"\n")


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
