"""Ending everything that a process started, also what has lost its parent."""

import subprocess
import sys

_START = """
import subprocess, psutil
from serving.supervision.processes import adopt_orphans, end_processes, reap

adopt_orphans()
shell = subprocess.Popen(["sh", "-c", "sleep 300 & echo $!; exec sleep 300"], stdout=subprocess.PIPE, text=True)
orphan = psutil.Process(int(shell.stdout.readline()))
shell.kill()
shell.wait()
assert orphan.is_running()
"""


def test_what_has_lost_its_parent_is_ended_too() -> None:
    assert _output_of(_START + "end_processes(); print(orphan.is_running(), psutil.Process().children())") == "False []"


def test_what_has_lost_its_parent_and_ends_leaves_no_zombie() -> None:
    wait = "while orphan.status() != psutil.STATUS_ZOMBIE: pass\n"
    assert _output_of(f"{_START}orphan.kill()\n{wait}reap(); print(psutil.Process().children())") == "[]"


def _output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()
