"""Knowing the processes of a service, and ending everything that was started, also what has lost its parent."""

import subprocess
import sys

import pytest

from serving.supervision.processes import service_processes

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


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/home/me/my project/ray/core/src/ray/raylet/raylet", "raylet"),
        ("/home/me/my project/ray/core/src/ray/gcs/gcs_server", "GCS"),
        ("/home/me/my project/bin/haproxy", "HAProxy"),
        ("ray::ServeReplica:my-app.v2:Gateway.handle_request", "Gateway"),
        ("ray::ServeReplica:my-app.v2:gemma-3-270m", "leader"),
        ("ray::Host.step", "host"),
        ("ray::HAProxyManager", "proxy manager"),
        ("ray::ServeController.listen_for_change", "controller"),
    ],
)
def test_processes_are_known_whatever_the_names_of_directories_and_applications(command: str, kind: str) -> None:
    with subprocess.Popen([command, "-c", "read line"], executable="/bin/sh", stdin=subprocess.PIPE) as process:
        found = {kind for kind, processes in service_processes().items() if process.pid in [p.pid for p in processes]}
    assert found == {kind}
