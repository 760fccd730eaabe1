"""A service that an evaluation starts is ended with it, whatever happens."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from serving.evaluation import served as module
from serving.evaluation.served import served
from serving.evaluation.service import ServiceError

SERVER = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked = getattr(self.server, "asked", 0) + 1
        body = b'{"status": "degraded", "unavailable": ["a"]}' if self.server.asked == 1 else b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""
"""For `codegemma serve`, with a model that is ready at second sight; its port is the name of the configuration."""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def test_it_is_there_for_the_block_and_gone_after_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", SERVER)
    said: list[str] = []
    before = set(psutil.Process().children())
    with served(Path(str(port)), ("0.0.0.0", port), said.append) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert set(psutil.Process().children()) == before
    assert any("not ready: a" in line for line in said)
    with pytest.raises(KeyboardInterrupt), served(Path(str(port)), ("127.0.0.1", port), said.append):
        raise KeyboardInterrupt
    assert set(psutil.Process().children()) == before


def test_one_that_does_not_start_is_said(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(ServiceError, match="did not start"), served(Path("my.yaml"), ("127.0.0.1", port), print):
        pass


def test_a_stranger_on_its_port_is_never_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    try:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        monkeypatch.setattr(module, "_PROGRAM", "raise AssertionError('it is started')")
        with (
            pytest.raises(ServiceError, match=f"Another process answers on 127.0.0.1:{port}"),
            served(Path("my.yaml"), ("0.0.0.0", port), print),
        ):
            pass
    finally:
        stranger.kill()
        stranger.wait()


def test_one_that_ended_is_not_taken_for_a_stranger_that_came_meanwhile(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stranger(url: str) -> str:
        """Is ready as soon as the service has ended."""
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        return ""

    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit(1)")
    monkeypatch.setattr(module, "not_ready", stranger)
    with pytest.raises(ServiceError, match="did not start"), served(Path("my.yaml"), ("127.0.0.1", port), print):
        pass


def test_one_that_is_never_ready_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(module, "_START_S", 0.0)
    before = set(psutil.Process().children())
    with pytest.raises(ServiceError, match="not ready after 0 s"), served(Path("x"), ("127.0.0.1", port), print):
        pass
    assert set(psutil.Process().children()) == before
