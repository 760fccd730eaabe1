"""Lets a Ray node go without losing a request: runs before the pod is told to stop.

Usage: leave.py SECONDS. Tells Ray that this node is to go, upon which Ray Serve starts what runs here elsewhere and
lets the requests here end. Ends when nothing here answers requests any more, or after SECONDS. Ray Serve knows of a
group's leader only: a pod with another host of the group waits until the leader has ended it. HAProxy is the last to
go: it hands on what comes by connections that clients keep, to Gateways elsewhere, and has to tell them to connect anew.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LEAVING = Path(tempfile.gettempdir()) / "leaving"
"""For ready.py."""
_ENDPOINTS_S = 10
"""For every node and load balancer to learn that no new requests are to come here."""
_POLL_S = 1.0
_SERVING = (b"ray::ServeReplica:", b"ray::Host")
"""Processes that answer requests: replicas, and the hosts of a group of several."""
_HAPROXY = b"/bin/haproxy"
_NODE_ID = b"--node_id="


def command_lines(proc: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The pod's processes: their ids and command lines."""
    for file in proc.glob("[0-9]*/cmdline"):
        try:
            yield int(file.parent.name), file.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue


def node_id(proc: Path) -> str | None:
    """This node's name for Ray, as its raylet was told; None if there is none."""
    for _, arguments in command_lines(proc):
        for argument in arguments if arguments[0].endswith(b"raylet") else ():
            if argument.startswith(_NODE_ID):
                return argument.removeprefix(_NODE_ID).decode()
    return None


def serves(proc: Path) -> bool:
    """Whether something in this pod still answers requests."""
    return any(arguments[0].startswith(_SERVING) for _, arguments in command_lines(proc))


def stop_haproxy(proc: Path) -> bool:
    """Has each HAProxy end after its last request; returns whether there was one."""
    found = [process for process, arguments in command_lines(proc) if arguments[0].endswith(_HAPROXY)]
    for process in found:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process, signal.SIGUSR1)  # if it was told already, that changes nothing
    return bool(found)


def drain(node: str, seconds: int) -> None:
    """Tells Ray that the node will be gone after so many seconds."""
    arguments = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=The pod is to end."]
    command = ["ray", "drain-node", f"--node-id={node}", f"--deadline-remaining-seconds={seconds}", *arguments]
    try:
        subprocess.run(command, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)  # no head to tell: what runs here goes on until the pod ends


def leave(seconds: int, proc: Path = Path("/proc")) -> None:
    """Leaves within so many seconds."""
    deadline = time.monotonic() + seconds
    _LEAVING.touch()
    time.sleep(_ENDPOINTS_S)
    if node := node_id(proc):
        drain(node, int(deadline - time.monotonic()))
    while (serves(proc) or stop_haproxy(proc)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


if __name__ == "__main__":
    leave(int(sys.argv[1]))
