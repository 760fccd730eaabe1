"""Adapters that are damaged at random are refused in a line that names them, soon and in bounded memory."""

import json
import os
import subprocess
import sys

from tests.sharding import adapter_damage

CASES = int(os.environ.get("DAMAGE_CASES", 20))
"""For each form."""


def test_a_damaged_adapter_is_refused_or_differs_in_numbers_alone() -> None:
    program = [sys.executable, "-m", adapter_damage.__name__, "0", str(CASES)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60 + 30 * CASES)
    assert done.returncode == 0, done.stderr[-2000:]
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) == CASES * len(adapter_damage.FORMS)
    assert [case for case in cases if case["wrong"]] == []
