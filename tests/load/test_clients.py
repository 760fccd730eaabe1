"""The load's clients against a real gateway on loopback, and what is noted of each request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import BearerAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.request import FimPrompt, Message, Speaker
from serving.gateway.service import CodeService
from serving.load.ask import Ask, Outcome
from serving.load.client import Client, grpc_client, http_client
from serving.load.measured_client import MeasuredClient
from tests.gateway.conftest import backend, codegemma, serving_on_loopback
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

__all__ = ["backend", "codegemma"]  # fixtures

FIM = Ask(prompt=FimPrompt(prefix="a", suffix="b"), session="s", max_tokens=8)
CHAT = Ask(
    prompt=(Message(Speaker.USER, "Hi"), Message(Speaker.MODEL, "Yes"), Message(Speaker.USER, "?")),
    session="s",
    max_tokens=8,
)


class Gateway:
    """A service that asks for a key, behind both protocols."""

    def __init__(self, backend: ScriptedBackend, directory: Path) -> None:
        file, self.key = KeyFile().with_new("load", "", tuple(Role))
        file.write(directory / "keys.yaml")
        model = served_model(backend, "both", Role.FIM, Role.CHAT)
        self.service = CodeService([model], GatewayConfig(), access=BearerAccess(directory / "keys.yaml"))

    @asynccontextmanager
    async def client(self, protocol: str, key: str | None = None) -> AsyncIterator[Client]:
        key = self.key if key is None else key
        if protocol == "http":
            app = build_http_app(lambda: self.service, GatewayConfig())
            async with serving_on_loopback(app) as url, http_client(url, key) as client:
                yield client
        else:
            async with grpc_server(self.service) as target, grpc_client(target, key) as client:
                yield client


@pytest.fixture
def gateway(backend: ScriptedBackend, tmp_path: Path) -> Gateway:
    return Gateway(backend, tmp_path)


both = pytest.mark.parametrize("protocol", ["http", "grpc"])


async def noted(client: Client, ask: Ask) -> Outcome:
    measured = MeasuredClient(client)
    await measured.ask(ask)
    [outcome] = measured.outcomes
    return outcome


@both
@pytest.mark.parametrize("ask", [FIM, CHAT])
async def test_an_answer_is_read_to_its_end(
    gateway: Gateway, backend: ScriptedBackend, protocol: str, ask: Ask
) -> None:
    async with gateway.client(protocol) as client:
        async with aclosing(client.answer(ask)) as pieces:
            text = "".join([piece async for piece in pieces])
        # Over gRPC, code ends with its block: without the line break after it.
        assert text == (backend.text.rstrip() if ask is FIM and protocol == "grpc" else backend.text)
        outcome = await noted(client, ask)
    assert outcome.end == "complete"
    assert outcome.kind == ("typing" if ask is FIM else "chat")
    assert outcome.first_s is not None
    assert 0 < outcome.first_s <= outcome.total_s
    assert outcome.pieces >= 1
    assert {request.session_id.rpartition("/")[2] for request in backend.requests} == {"s"}


@both
async def test_a_failure_is_noted_by_its_reason(gateway: Gateway, backend: ScriptedBackend, protocol: str) -> None:
    backend.text, backend.error = "", ServingError(Reason.UNAVAILABLE, "no")
    async with gateway.client(protocol) as client:
        outcome = await noted(client, FIM)
    assert (outcome.end, outcome.first_s, outcome.pieces) == ("unavailable", None, 0)


@both
async def test_a_failure_within_a_stream_is_noted_too(
    gateway: Gateway, backend: ScriptedBackend, protocol: str
) -> None:
    backend.text, backend.error = "return", ServingError(Reason.UNAVAILABLE, "no")
    async with gateway.client(protocol) as client:
        outcome = await noted(client, FIM)
    assert outcome.end == "unavailable"
    assert outcome.first_s is not None


@both
async def test_a_wrong_key_is_noted(gateway: Gateway, protocol: str) -> None:
    async with gateway.client(protocol, key="cg_00000000_wrong") as client:
        assert (await noted(client, CHAT)).end == "unauthenticated"


async def test_a_service_that_is_not_there_is_noted() -> None:
    async with http_client("http://127.0.0.1:1", "") as client:
        assert "Connect" in (await noted(client, FIM)).end
    async with grpc_client("127.0.0.1:1", "") as client:
        assert (await noted(client, FIM)).end == "unavailable"


@both
async def test_a_keystroke_cancels_and_the_service_notices(
    gateway: Gateway, backend: ScriptedBackend, protocol: str
) -> None:
    backend.pause_at = 1
    async with gateway.client(protocol) as client, asyncio.timeout(30):
        measured = MeasuredClient(client)
        asking = asyncio.create_task(measured.ask(FIM))
        await backend.paused.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await backend.idle.wait()
    assert [outcome.end for outcome in measured.outcomes] == ["cancelled"]


async def test_what_the_end_of_the_load_cuts_off_is_not_counted(gateway: Gateway, backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    async with gateway.client("http") as client, asyncio.timeout(30):
        measured = MeasuredClient(client)
        asking = asyncio.create_task(measured.ask(FIM))
        await backend.paused.wait()
        measured.over = True
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert measured.outcomes == []


async def test_a_service_below_a_path_is_asked_there(gateway: Gateway) -> None:
    app = Starlette(routes=[Mount("/team", build_http_app(lambda: gateway.service, GatewayConfig()))])
    async with serving_on_loopback(app) as url, http_client(f"{url}/team", gateway.key) as client:
        assert (await noted(client, FIM)).end == "complete"
