"""A service that an evaluation starts is ended with it, whatever happens."""

import socket
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
        self.send_response(200 if self.headers["authorization"] == "Bearer key" else 401)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""
"""In place of `codegemma serve`; its port is the name of the configuration."""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def test_it_is_there_for_the_block_and_gone_after_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", SERVER)
    before = set(psutil.Process().children())
    with served(Path(str(port)), ("0.0.0.0", port), "key") as url:
        assert url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/v1/models", headers={"authorization": "Bearer key"}).is_success
    assert set(psutil.Process().children()) == before
    with pytest.raises(KeyboardInterrupt), served(Path(str(port)), ("127.0.0.1", port), "key"):
        raise KeyboardInterrupt
    assert set(psutil.Process().children()) == before


def test_one_that_does_not_start_is_said(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(ServiceError, match="did not start"), served(Path("my.yaml"), ("127.0.0.1", port), ""):
        pass
