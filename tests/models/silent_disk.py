"""A disk that hangs: whoever asks what is in a directory reads a pipe into which nobody writes yet."""

import os
from pathlib import Path

import pytest


class SilentDisk:
    """Makes everything below a directory hang whoever asks for it, in a real read(2), until it answers again."""

    def __init__(self, directory: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(pipe)
        self._pipe = pipe
        self._silent = True
        exists = Path.exists

        def hanging(path: Path, *, follow_symlinks: bool = True) -> bool:
            if self._silent and directory in path.parents:
                pipe.read_bytes()
            return exists(path, follow_symlinks=follow_symlinks)

        monkeypatch.setattr(Path, "exists", hanging)

    def answer(self) -> None:
        """Lets go of whoever hangs, and of all who come."""
        self._silent = False
        self._pipe.write_bytes(b"")
