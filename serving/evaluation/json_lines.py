"""JsonLines: a file that grows by a JSON object a line, and is whole up to the last of them after any crash."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from serving.evaluation.run_error import RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class JsonLines[T: DataclassInstance]:
    """The file of a run's directory at `path`, which need not be there; each line is a dataclass `kind`."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._kind = kind

    def read(self) -> list[T]:
        """All lines, but for a last one that was cut off.

        Raises:
          RunError: a line is something else.
        """
        if not self._path.exists():
            return []
        found = []
        for number, line in enumerate(self._path.read_bytes().split(b"\n")[:-1], 1):
            try:
                found.append(self._kind(**json.loads(line)))
            except (ValueError, TypeError) as error:
                what = f"{self._path}: line {number} is no {self._kind.__name__.lower()}: {error}"
                raise RunError(f"{what}. Delete it, and its task is done again.") from None
        return found

    @contextmanager
    def appending(self) -> Iterator[Callable[[T], None]]:
        """Adds lines, each at once, as the only process that does.

        Raises:
          RunError: another one does.
        """
        with self._path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"Another process is writing {self._path.parent}. Wait for it, or name another with --out."
                ) from None
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)

            def append(line: T) -> None:
                os.write(file.fileno(), json.dumps(asdict(line)).encode() + b"\n")

            yield append
