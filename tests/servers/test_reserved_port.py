"""Reserved ports: nobody comes upon one by chance, and the server it is meant for binds it."""

import socket
import struct
from collections.abc import Iterator

import pytest

from serving.servers.reserved_port import reserve_port

_IP_LOCAL_PORT_RANGE = 51  # socket.IP_LOCAL_PORT_RANGE of Python 3.14
_HOST = "127.0.0.1"


@pytest.fixture
def reserved() -> Iterator[tuple[str, int]]:
    with reserve_port((_HOST, 0)) as port:
        yield port.getsockname()


def test_no_outgoing_connection_comes_from_it(reserved: tuple[str, int]) -> None:
    """Which would keep a server from listening there."""
    with (
        socket.create_server((_HOST, 0)) as elsewhere,
        _from_port(reserved[1]) as client,
        pytest.raises(OSError, match="Cannot assign requested address"),
    ):
        client.connect(elsewhere.getsockname())


def test_from_a_port_that_is_not_reserved_one_does_and_no_server_can_listen_there() -> None:
    with reserve_port((_HOST, 0)) as port:
        address = port.getsockname()
    with socket.create_server((_HOST, 0)) as elsewhere, _from_port(address[1]) as client:
        client.connect(elsewhere.getsockname())
        with pytest.raises(OSError, match="Address already in use"):
            reserve_port(address)


def test_no_server_that_asks_for_any_port_gets_it(reserved: tuple[str, int]) -> None:
    with _from_port(reserved[1]) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            server.bind((_HOST, 0))


@pytest.mark.parametrize("options", [[socket.SO_REUSEADDR], [socket.SO_REUSEADDR, socket.SO_REUSEPORT]])
@pytest.mark.parametrize("host", [_HOST, "0.0.0.0"])
def test_its_server_listens_there_as_often_as_it_starts(
    reserved: tuple[str, int], host: str, options: list[int]
) -> None:
    for _ in range(2):
        with socket.socket() as server:
            for option in options:
                server.setsockopt(socket.SOL_SOCKET, option, 1)
            server.bind((host, reserved[1]))
            server.listen()
            with socket.create_connection(reserved) as client:
                server.accept()[0].close()  # the server closes first: it is the one who has to wait
                assert client.recv(1) == b""


def test_what_starts_anew_reserves_it_before_it_is_given_up(reserved: tuple[str, int]) -> None:
    with reserve_port(reserved) as again:
        assert again.getsockname() == reserved


def _from_port(port: int) -> socket.socket:
    """A socket for which the kernel has one port to choose from, where others have many (ip(7))."""
    chosen = socket.socket()
    try:
        chosen.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("I", port << 16 | port))
    except OSError:
        chosen.close()
        pytest.skip("needs Linux 6.3")
    return chosen


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_it_may_be_of_any_family(host: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    with (
        reserve_port((host, 0)) as port,
        socket.socket(port.family) as somebody,
        pytest.raises(OSError, match="Address already in use"),
    ):
        somebody.bind(port.getsockname())
