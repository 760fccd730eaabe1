"""What dies under load takes nothing with it; `make chaos` does the same for longer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster import ports_beside_another

_ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_what_is_killed_under_load_comes_back_and_leaves_nothing_over() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--rounds", "4"]  # each kind of process once
    environment = {**os.environ, **ports_beside_another()}
    ran = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=880)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
