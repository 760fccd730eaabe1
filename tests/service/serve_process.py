"""`codegemma serve` as a process of its own."""

import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from serving.servers.reserved_port import reserve_port
from tests.service.ray_cluster import ports_beside_another

COMMAND = Path(sys.executable).parent / "codegemma"
_MARK = "CODEGEMMA_TEST_RUN"


class Server:
    """`codegemma serve` with ports of its own: another cluster may run beside it."""

    def __init__(self, *options: str) -> None:
        self.mark = uuid.uuid4().hex
        # Bound until it ends: it takes seconds to bind them itself, in which another program could get them.
        self._ports = [reserve_port(("127.0.0.1", 0)) for _ in range(3)]
        self.http_port, self.grpc_port, metrics_port = (int(each.getsockname()[1]) for each in self._ports)
        environment = {**os.environ, **ports_beside_another(), _MARK: self.mark, "XLA_FLAGS": ""}
        environment.pop("RAY_ADDRESS", None)
        ports = {"--http-port": self.http_port, "--grpc-port": self.grpc_port, "--metrics-port": metrics_port}
        command = [str(COMMAND), "serve", *options, *(str(part) for port in ports.items() for part in port)]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:  # after a failure: HAProxy would keep its ports from the next service
            for process in [self.process, *psutil.Process(self.process.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.communicate()
        for port in self._ports:
            port.close()

    def output_until(self, text: str) -> str:
        """What it prints up to a line with this text."""
        output = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            output += line
            if text in line:
                return output
        pytest.fail(f"it ended before it printed {text!r}:\n{output}")

    def ends_well_by(self, signal_number: signal.Signals) -> None:
        """A signal ends it with status 0, and no process stays behind."""
        self.process.send_signal(signal_number)
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, output
        assert _processes_with(self.mark) == []


def listening_elsewhere(pid: int) -> set[str]:
    """What listens on more than loopback, of all that a process started: the beginnings of its command lines."""
    commands = {each.pid: each.cmdline()[0] for each in psutil.Process(pid).children(recursive=True) if each.cmdline()}
    return {
        commands[each.pid]
        for each in psutil.net_connections("tcp")
        if each.pid in commands
        and each.status == psutil.CONN_LISTEN
        and each.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
    }


def _processes_with(mark: str) -> list[str]:
    """The command lines of all processes that inherited the mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended, or is not ours
            continue
    return found
