"""The port of a group's links: who has no key gets nothing, and not for long."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from serving.engine.engine import Engine
from serving.group.server import GroupServer
from serving.link import GroupAddress
from tests.engine.simulated import SimulatedRunner, limits_of

_WAIT_S = 15


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[GroupAddress]:
    monkeypatch.setattr("serving.group.server._KEY_TIMEOUT_S", 0.2)
    server = GroupServer(Engine(SimulatedRunner(limits_of()), max_queue=1), "127.0.0.1")
    yield server.start()
    server.stop()


def connection(address: GroupAddress) -> socket.socket:
    url = urlsplit(address.url)
    return socket.create_connection((url.hostname, url.port), _WAIT_S)


def answer(address: GroupAddress, *lines: bytes, body: bytes = b"") -> bytes:
    """All that comes back until the connection is closed."""
    received = b""
    with connection(address) as stranger:
        stranger.sendall(b"\r\n".join([*lines, b"host: group", b"", b""]) + body)
        while part := stranger.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    "shown", [b"", b"Bearer wrong", b"Bearer \xff\xfe", b"\xf0\x9f", b"Bearer \xc3\xa9", b"x" * 8000]
)
def test_a_connection_without_the_key_is_unauthorized_whatever_bytes_it_sends(
    address: GroupAddress, shown: bytes
) -> None:
    received = answer(address, b"GET / HTTP/1.1", b"authorization: " + shown)
    assert received.startswith(b"HTTP/1.1 401 ")


def test_the_key_of_the_group_is_taken(address: GroupAddress) -> None:
    handshake = [b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13"]
    key = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
    with connection(address) as gateway:
        lines = [b"GET / HTTP/1.1", b"host: group", f"authorization: Bearer {address.key}".encode(), *handshake, key]
        gateway.sendall(b"\r\n".join([*lines, b"", b""]))
        assert gateway.recv(65536).startswith(b"HTTP/1.1 101 ")
        gateway.settimeout(1)  # five times as long as a stranger has
        with pytest.raises(TimeoutError):
            while part := gateway.recv(65536):
                assert part


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: gr", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"])
def test_a_connection_that_never_shows_the_key_is_closed(address: GroupAddress, begun: bytes) -> None:
    with connection(address) as stranger:
        stranger.sendall(begun)
        while stranger.recv(65536):
            pass
