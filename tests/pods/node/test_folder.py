"""The folder of a run: held by one at a time, with nothing left behind, and logs kept if there are any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pods.node import folder
from tests.pods.node.command import MissingError
from tests.pods.node.folder import keep_logs, locked

_HOLD = "from tests.pods.node.folder import locked\nwith locked():\n    print('held', flush=True)\n    input()"


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run of `make pods` beside these tests keeps its own."""
    monkeypatch.setattr(folder, "_LOCK", f"codegemma-pods-of-test-{os.getpid()}")
    monkeypatch.setattr(folder, "FOLDER", tmp_path / "pods-folder")


def test_one_run_at_a_time_holds_it() -> None:
    with locked(), pytest.raises(MissingError, match="Another `make pods` runs"), locked():
        pass
    with locked():
        pass


def test_a_run_that_was_killed_holds_it_no_longer(tmp_path: Path) -> None:
    code = f"from tests.pods.node import folder\nfolder._LOCK = {folder._LOCK!r}\n{_HOLD}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None and run.stdout.readline() == "held\n"
        with pytest.raises(MissingError), locked():
            pass
        run.kill()
    with locked():
        pass


def test_logs_are_kept_in_the_place_of_older_ones_and_their_lack_is_said(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    assert not keep_logs(target)
    log = folder.FOLDER / "pods" / "head" / "ray.log"
    log.parent.mkdir(parents=True)
    log.write_text("said")
    assert keep_logs(target)
    assert (target / "head" / "ray.log").read_text() == "said"
    log.unlink()
    assert not keep_logs(target)
    assert not target.exists()
