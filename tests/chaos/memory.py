"""Takes the machine's memory, within limits, until Ray ends parts of a running service, and shows how they come back.

    python -m tests.chaos.memory --seconds 30

Ray's memory monitor is told to act at half a GiB more than is in use now, with the service, and a process then takes at
most a GiB and a half. It needs a machine on which nothing else takes or frees that much meanwhile. The exit status is 1
if the service is not in service again a minute after that process has ended.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from serving.supervision.memory import memory
from serving.supervision.probe import Probe
from tests.service.memory_hog import memory_in_use
from tests.service.serve_process import Server
from tests.service.tiny_codegemma import write_service

_SERVICE_BYTES, _ROOM_BYTES = 3 * 2**29, 2**29
"""About what the tiny service takes, and what is to be free beside it."""
_BEYOND_BYTES = 2**26
_BACK_S = 60.0
_GIVE_UP_S = 300.0
_PERIOD_S = 0.2


def main(seconds: Annotated[float, typer.Option(min=1, help="How long memory is short.")] = 30.0) -> None:
    """Starts `codegemma serve`, takes memory, gives it back, waits for the service."""
    most = memory().used + _SERVICE_BYTES + _ROOM_BYTES
    threshold = {"RAY_memory_usage_threshold": str(most / memory().total), "RAY_memory_monitor_refresh_ms": "100"}
    os.environ.update(threshold)
    with tempfile.TemporaryDirectory() as directory, Server("--config", str(write_service(Path(directory)))) as server:
        server.output_until("Ctrl-C drains")
        lines: list[str] = []
        threading.Thread(target=_show, args=[server, lines], daemon=True).start()
        back_s = _pressure(server, most + _BEYOND_BYTES, seconds)
        server.process.send_signal(signal.SIGINT)
        server.process.wait()
    if not any("Out of service" in line for line in lines):
        sys.exit("Ray ended nothing: something else freed memory meanwhile. Try again when the machine is quiet.")
    print(f"in service again {back_s:.1f} s after memory was free; it ended with status {server.process.returncode}")
    sys.exit(back_s > _BACK_S)


def _pressure(server: Server, level: int, seconds: float) -> float:
    """Seconds from when memory is free again until the service is in service."""
    host = "127.0.0.1"
    probe = Probe((host, server.http_port), (host, server.grpc_port))
    print(
        f"taking memory until {level / 2**30:.1f} GiB are in use, of which {memory().used / 2**30:.1f} are", flush=True
    )
    with memory_in_use(level):
        time.sleep(seconds)
    free = time.monotonic()
    print("memory is free", flush=True)
    while probe.health().failures:
        if server.process.poll() is not None or time.monotonic() - free > _GIVE_UP_S:
            return float("inf")
        time.sleep(_PERIOD_S)
    return time.monotonic() - free


def _show(server: Server, lines: list[str]) -> None:
    for line in server.process.stdout or ():
        lines.append(line)
        print(f"    {line}", end="", flush=True)


if __name__ == "__main__":
    typer.run(main)
