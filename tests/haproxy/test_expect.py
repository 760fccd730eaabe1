"""Clients that ask for leave to send a body: `Expect: 100-continue` (RFC 9110, section 10.1.1)."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.haproxy.front import Answer, Front, front, received

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEAD = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n"


def _post(path: str, expect: bytes = b"100-continue", length: int = 2) -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: %d\r\nexpect: %b\r\n\r\n"
    return head % (path.encode(), length, expect)


@contextmanager
def _early_server(head_is_read: threading.Event) -> Iterator[int]:
    """Answers without waiting for a body, the body of its answer when somebody has read the head; its port."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(65536)
                if request.startswith(b"GET"):  # HAProxy's check
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    continue
                connection.sendall((_CONTINUE if b"expect" in request else b"") + _HEAD)
                head_is_read.wait()
                with suppress(ConnectionError):
                    connection.sendall(b"true")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_an_answer_that_does_not_wait_for_the_body_arrives_whole(tmp_path: Path) -> None:
    head_is_read = threading.Event()
    with (
        _early_server(head_is_read) as server,
        front(tmp_path, http_server=server) as running,
        socket.create_connection(("127.0.0.1", running.ports.http), timeout=20) as connection,
    ):
        connection.sendall(_post("/v1/completions") + b"{}")
        heard = b""
        while b" 401 " not in heard or not heard.endswith(b"\r\n\r\n"):
            heard += connection.recv(65536)
        head_is_read.set()
        assert received(connection) == b"true"


@pytest.mark.parametrize("length", [2, 5_000_000])
def test_who_waits_is_told_to_continue_and_the_body_arrives(haproxy: Front, length: int) -> None:
    with socket.create_connection(("127.0.0.1", haproxy.ports.http), timeout=20) as connection:
        connection.sendall(_post("/whole-body", length=length))
        assert connection.recv(len(_CONTINUE), socket.MSG_WAITALL) == _CONTINUE
        connection.sendall(bytes(length))
        answer = Answer.of(received(connection))
    assert answer.status == 200
    assert "expect" not in json.loads(answer.body.splitlines()[1])["headers"]


def test_who_expects_something_else_is_answered(haproxy: Front) -> None:
    answer = Answer.of(haproxy.send(_post("/whole-body", b"200-ok") + b"{}"))
    assert answer.status == 200


def test_a_client_that_sends_no_body_after_100_continue_gets_an_error(short_timeouts: Front) -> None:
    answer = short_timeouts.send(_post("/whole-body"))
    assert Answer.of(answer.removeprefix(_CONTINUE)).error["code"] == "request_timeout"
