"""The process that Ray Serve takes for HAProxy, when it is killed or told to stop."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import psutil
import pytest

from tests.haproxy.front import Ports, grpc_server, http_server, ports, received, rendered, wait_until_open
from tests.haproxy.test_hostile_grpc import METHOD

_COMMAND = Path(sys.executable).with_name("codegemma-haproxy")
_WAIT_S = 60.0


class _Kept:
    """A running `codegemma-haproxy`."""

    def __init__(self, ports: Ports, process: "subprocess.Popen[bytes]") -> None:
        self.ports = ports
        self.keeper = process
        [self.haproxy] = psutil.Process(process.pid).children()

    def closed(self) -> bool:
        """Whether new connections are refused, on both ports."""
        for port in (self.ports.http, self.ports.grpc):
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return False
        return True


@contextmanager
def _kept(directory: Path, **servers: int) -> Iterator[_Kept]:
    listening = ports()
    config = rendered(directory, listening, **servers)
    process = subprocess.Popen([_COMMAND, "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        for port in (listening.http, listening.grpc):
            wait_until_open(port, process)
        kept = _Kept(listening, process)
        yield kept
    finally:
        process.kill()
        process.wait()
        with suppress(psutil.NoSuchProcess):
            kept.haproxy.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_requests_that_are_open_when_it_is_to_stop_get_their_whole_answer(tmp_path: Path, number: int) -> None:
    begun = threading.Event()

    def grpc_parts(channel: grpc.Channel) -> Iterator[bytes]:
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        for part in call(b"slow", metadata=[("application", "codegemma")]):
            begun.set()
            yield part

    with http_server() as http, grpc_server() as rpc, _kept(tmp_path, http_server=http, grpc_server=rpc) as kept:
        with (
            socket.create_connection(("127.0.0.1", kept.ports.http), timeout=_WAIT_S) as connection,
            grpc.insecure_channel(f"127.0.0.1:{kept.ports.grpc}") as channel,
        ):
            answers: list[bytes] = []
            reader = threading.Thread(target=lambda: answers.extend(grpc_parts(channel)))
            reader.start()
            connection.sendall(b"GET /parts HTTP/1.1\r\nhost: here\r\n\r\n")
            whole = connection.recv(65536)
            assert begun.wait(_WAIT_S)
            kept.keeper.send_signal(number)
            while not whole.endswith(b"0\r\n\r\n"):
                whole += connection.recv(65536)
            reader.join(_WAIT_S)
            connection.sendall(b"GET /next HTTP/1.1\r\nhost: here\r\n\r\n")
            last = received(connection)
        assert whole.count(b"part") == 3
        assert b"connection: close" in last and b"/next" in last
        assert answers[:3] == [b"part"] * 3 and len(answers) == 4
        kept.haproxy.wait(_WAIT_S)
        kept.keeper.wait(_WAIT_S)
        assert kept.closed()


def test_it_is_lost_with_its_haproxy_for_ray_serve_to_start_another(tmp_path: Path) -> None:
    with _kept(tmp_path) as kept:
        kept.haproxy.kill()
        assert kept.keeper.wait(_WAIT_S) == 128 + signal.SIGKILL


def test_another_haproxy_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with http_server() as http, _kept(tmp_path, http_server=http) as kept:
        config = rendered(tmp_path / "other", kept.ports, http_server=http)
        with subprocess.Popen([_COMMAND, "-db", "-f", config, "-sf", str(kept.keeper.pid)]) as other:
            try:
                assert kept.keeper.wait(_WAIT_S) == 0
                wait_until_open(kept.ports.http, other)
            finally:
                other.send_signal(signal.SIGUSR1)
