"""Reserving TPU slices."""

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_hosts_are_placed_on_the_slice_which_is_given_back() -> None:
    command = [sys.executable, "-m", "tests.group.reserve_slices"]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stderr
    came = json.loads(ran.stdout.splitlines()[-1])
    once = {"hosts": [["slice-a", "0"], ["slice-a", "1"]], "left": 0}
    assert came == {"reserved": [once, once], "refused": True}
