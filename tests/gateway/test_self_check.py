"""A Gateway's check of itself, against real servers on loopback."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from serving.gateway import self_check
from serving.gateway.self_check import Ports, SelfCheck
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service


@pytest.fixture
async def grpc_target(codegemma: Tokenizer) -> AsyncIterator[str]:
    async with grpc_server(one_model_service(ScriptedBackend(codegemma))) as target:
        yield target


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """A port where nothing listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
async def check() -> AsyncIterator[SelfCheck]:
    check = SelfCheck()
    yield check
    await check.close()


async def test_a_gateway_that_answers_is_well_whatever_it_answers(
    check: SelfCheck, server: str, grpc_target: str
) -> None:
    ports = Ports(http=server.removeprefix("http://"), grpc=grpc_target)  # 404 and UNIMPLEMENTED
    for _ in range(2):
        await check.check(ports)


async def test_a_gateway_without_ports_yet_is_well(check: SelfCheck) -> None:
    await check.check(Ports(http=None, grpc=None))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_port_where_nothing_listens_is_a_fault(
    check: SelfCheck, server: str, grpc_target: str, closed: str, protocol: str
) -> None:
    ports = {"http": server.removeprefix("http://"), "grpc": grpc_target} | {protocol: closed}
    with pytest.raises(RuntimeError, match=f"(?i){protocol} does not answer at {closed}"):
        await check.check(Ports(**ports))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_port_that_says_nothing_is_a_fault(
    check: SelfCheck, silent: str, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(self_check, "_TIMEOUT_S", 0.2)
    with pytest.raises(RuntimeError, match=f"(?i){protocol} does not answer"):
        await check.check(Ports(**({"http": None, "grpc": None} | {protocol: silent})))


async def test_a_server_that_ended_after_it_answered_is_a_fault(check: SelfCheck, codegemma: Tokenizer) -> None:
    """As grpcio's does, of its own accord, when a client names a method in bytes that are not UTF-8."""
    async with grpc_server(one_model_service(ScriptedBackend(codegemma))) as target:
        await check.check(Ports(http=None, grpc=target))
    with pytest.raises(RuntimeError, match="gRPC does not answer"):
        await check.check(Ports(http=None, grpc=target))
