"""Writes what Ray Serve logs in this pod to standard output, where `kubectl logs` and log collectors look.

Ray Serve writes files, a file for each replica and proxy, each line of it JSON.
"""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

_FOLDER = Path("/tmp/ray/session_latest/logs/serve")
_POLL_S = 1.0


class LogFolder:
    """The log files of a folder, also those that come later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, BinaryIO] = {}
        self._unfinished: dict[Path, bytes] = {}

    def new_lines(self) -> list[bytes]:
        """The whole lines that were written since the last call."""
        lines = []
        for path in sorted(self._folder.glob("*.log")):
            text = self._unfinished.get(path, b"") + self._read(path)
            *whole, self._unfinished[path] = text.split(b"\n")
            lines += whole
        return lines

    def close(self) -> None:
        """Closes the files."""
        for file in self._open.values():
            file.close()

    def _read(self, path: Path) -> bytes:
        file = self._open.get(path)
        rest = file.read() if file else b""
        try:
            if file is None or os.fstat(file.fileno()).st_ino != path.stat().st_ino:  # it was rotated
                new = self._open[path] = path.open("rb")
                if file:
                    file.close()
                rest += new.read()
        except FileNotFoundError:
            pass  # between the two names of a rotation: it is there next time
        return rest


def main(folder: Path) -> None:
    """Goes on until the pod ends."""
    ends = False

    def end(*_: object) -> None:
        nonlocal ends
        ends = True

    # As the first process of its container it would not be ended by the signal, and the pod would wait for it in vain.
    signal.signal(signal.SIGTERM, end)
    with closing(LogFolder(folder)) as logs:
        while True:
            last = ends
            for line in logs.new_lines():
                sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
            if last:
                return
            time.sleep(_POLL_S)


if __name__ == "__main__":
    main(_FOLDER)
