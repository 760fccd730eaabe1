"""Ending everything that a process started, also what has lost its parent."""

import subprocess
import sys

_PROGRAM = """
import subprocess, psutil
from serving.supervision.processes import adopt_orphans, end_processes

adopt_orphans()
shell = subprocess.Popen(["sh", "-c", "sleep 300 & echo $!; exec sleep 300"], stdout=subprocess.PIPE, text=True)
orphan = psutil.Process(int(shell.stdout.readline()))
shell.kill()
shell.wait()
assert orphan.is_running()
end_processes()
print(orphan.is_running(), psutil.Process().children())
"""


def test_what_has_lost_its_parent_is_ended_too() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False []\n"
