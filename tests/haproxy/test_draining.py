"""A HAProxy that Ray Serve drains: it serves on, and its clients leave it by themselves."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.haproxy.front import Front, front, grpc_server, http_server
from tests.haproxy.test_hostile_grpc import METHOD

_CALLS = 40


@pytest.fixture(scope="module")
def draining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with (
        http_server() as http,
        grpc_server() as rpc,
        front(tmp_path_factory.mktemp("draining"), http_server=http, grpc_server=rpc, drains=True) as haproxy,
    ):
        yield haproxy


def test_it_says_to_health_checks_that_it_is_to_go(draining: Front) -> None:
    assert draining.ask("GET /-/healthz").status == 503


def test_an_answer_is_the_last_of_its_connection(draining: Front) -> None:
    answer = draining.send(b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n")  # read to the connection's end
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer


def test_grpc_clients_go_on_by_other_connections_and_lose_no_call(draining: Front) -> None:
    connections = 0
    lost: list[grpc.RpcError] = []

    def count(state: grpc.ChannelConnectivity) -> None:
        nonlocal connections
        connections += state is grpc.ChannelConnectivity.READY

    def ask() -> None:
        for _ in range(_CALLS):
            try:
                list(method(b"", timeout=60))
            except grpc.RpcError as error:
                lost.append(error)

    with grpc.insecure_channel(f"127.0.0.1:{draining.ports.grpc}") as channel:
        channel.subscribe(count)
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lost == []
    assert connections > 1


def test_others_keep_their_connections(tmp_path: Path) -> None:
    with http_server() as http, front(tmp_path, http_server=http) as haproxy:
        first = b"GET /first HTTP/1.1\r\nhost: here\r\n\r\n"
        answers = haproxy.send(first + b"GET /second HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200") == 2
