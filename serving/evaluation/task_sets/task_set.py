"""TaskSet: tasks that are scored together, and the published file that they come from."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.evaluation.task import Task

Line = dict[str, Any]
PYTHON_END = '\n__import__("sys").__stdout__.write("\\n@@END@@")\n'
"""The last statement of a program in Python, whatever `print` is by then."""


class DataError(Exception):
    """A set's file is missing or not what it should be; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class TaskSet:
    """A benchmark.

    Attributes:
      name: on the command line.
      title: in reports.
      file: its data in the operator's folder, gzipped or not.
      source: where that comes from, and its licence.
      read: makes tasks of the file's lines; what it leaves out it says in the second value.
      language: of its programs.
      max_tokens: of an answer.
      card: its row in the model card, if that has one.
    """

    name: str
    title: str
    file: str
    source: str
    read: Callable[[list[Line]], tuple[list[Task], list[str]]]
    language: str
    max_tokens: int
    card: str = ""

    def find(self, directory: Path) -> Path:
        """Its file.

        Raises:
          DataError: it is not there.
        """
        for path in (directory / self.file, directory / f"{self.file}.gz"):
            if path.is_file():
                return path
        raise DataError(f"{directory} has no {self.file} or {self.file}.gz. It comes from {self.source}.")

    def load(self, directory: Path) -> tuple[list[Task], list[str]]:
        """Reads the tasks.

        Returns:
          The tasks, and a line for each question of the file that is none, with its reason.

        Raises:
          DataError: the file is missing, or is not this set's.
        """
        path = self.find(directory)
        lines: list[Line] = []
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file
            ):
                lines += (json.loads(line) for line in file if line.strip())
            return self.read(lines)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{path}: line {len(lines) + 1}: {error}. It comes from {self.source}.") from None
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is not {self.title}: {error} is missing. It comes from {self.source}.") from None
