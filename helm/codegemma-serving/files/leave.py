"""Lets a Ray node go without losing a request: runs before the pod is told to stop.

Usage: leave.py SECONDS. Tells Ray that this node is to go, upon which Ray Serve starts what runs here elsewhere and
lets the requests here end. Ends when nothing here answers requests any more, or after SECONDS. Ray Serve knows of a
group's leader only: a pod with another host of the group waits until the leader has ended it. HAProxy is the last to
go: it hands requests on to Gateways elsewhere, too.
"""

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_LEAVING = Path(tempfile.gettempdir()) / "leaving"
"""For ready.py."""
_ENDPOINTS_S = 10
"""For every node and load balancer to learn that no new requests are to come here."""
_POLL_S = 1.0
_SERVING = (b"ray::ServeReplica:", b"ray::Host")
"""Processes that answer requests: replicas, and the hosts of a group of several."""
_HAPROXY = b"/bin/haproxy"
_HAPROXY_METRICS = "http://127.0.0.1:9101/metrics?scope=backend"
_NODE_ID = b"--node_id="


def command_lines(proc: Path) -> Iterator[list[bytes]]:
    """The command lines of the pod's processes."""
    for file in proc.glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue


def node_id(proc: Path) -> str | None:
    """This node's name for Ray, as its raylet was told; None if there is none."""
    for arguments in command_lines(proc):
        for argument in arguments if arguments[0].endswith(b"raylet") else ():
            if argument.startswith(_NODE_ID):
                return argument.removeprefix(_NODE_ID).decode()
    return None


def serves(proc: Path) -> bool:
    """Whether something in this pod still answers requests."""
    return any(arguments[0].startswith(_SERVING) for arguments in command_lines(proc))


def hands_on(proc: Path) -> bool:
    """Whether HAProxy has a request open: the one that runs, or one that it took the place of."""
    processes = [arguments for arguments in command_lines(proc) if arguments[0].endswith(_HAPROXY)]
    return len(processes) > 1 or (bool(processes) and open_requests() > 0)


def open_requests() -> int:
    """How many requests HAProxy waits for, by its own count."""
    try:
        with urllib.request.urlopen(_HAPROXY_METRICS, timeout=_POLL_S) as answer:
            text = answer.read().decode()
    except OSError:  # it has ended
        return 0
    return sum(
        int(count) for count in re.findall(r"^haproxy_backend_current_sessions\{.*\} (\d+)$", text, re.MULTILINE)
    )


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
    while (serves(proc) or hands_on(proc)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


if __name__ == "__main__":
    leave(int(sys.argv[1]))
