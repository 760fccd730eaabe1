"""HAProxy as the service has it, and one whose time limits are short."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.haproxy.hardening import TimeLimits
from tests.free_port import free_port
from tests.haproxy.front import Front, front, grpc_server, http_server


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[int, int]]:
    """The ports of an HTTP server and a gRPC server behind HAProxy."""
    with http_server() as http, grpc_server() as grpc:
        yield http, grpc


@pytest.fixture(scope="session")
def haproxy(servers: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("haproxy"), http_server=servers[0], grpc_server=servers[1]) as running:
        yield running


@pytest.fixture(scope="session")
def short_timeouts(servers: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """With time limits of half a second, one second for a client that says nothing in the middle of a body."""
    limits = TimeLimits(header_s=0.5, body_s=0.5)
    directory: Path = tmp_path_factory.mktemp("short_timeouts")
    with front(directory, http_server=servers[0], grpc_server=servers[1], limits=limits, client_s=1) as running:
        yield running


@pytest.fixture(scope="session")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """With an application whose only server is gone."""
    with front(tmp_path_factory.mktemp("lost"), http_server=free_port()) as running:
        yield running


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """With nothing deployed behind it yet."""
    with front(tmp_path_factory.mktemp("alone")) as running:
        yield running
