"""A real gRPC server in a thread of its own, in front of a scripted backend: for clients with and without a loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from serving.config import Role
from serving.errors import ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.request import AnswerPart, CodeRequest
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.conftest import codegemma
from tests.gateway.grpc_server import CONFIG, grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

__all__ = ["codegemma"]  # a fixture


class Service(CodeService):
    """The real service over a scripted backend.

    Attributes:
      backend: generates.
      failures: raised by the next requests, one each.
      asked: all requests that came, those that failed too.
    """

    def __init__(self, backend: ScriptedBackend) -> None:
        fim = served_model(backend, "fim-model", Role.FIM, aliases=("fim",))
        super().__init__([fim, served_model(backend, "chat-model", Role.CHAT)], CONFIG, access=OpenAccess())
        self.backend = backend
        self.failures: list[ServingError] = []
        self.asked: list[CodeRequest] = []

    async def generate(self, *requests: CodeRequest) -> AsyncGenerator[AnswerPart, None]:
        self.asked += requests
        if self.failures:
            raise self.failures.pop(0)
        async with aclosing(super().generate(*requests)) as parts:
            async for part in parts:
                yield part


class Server:
    """A server that runs in its own thread until it is stopped.

    Attributes:
      target: HOST:PORT.
    """

    def __init__(self, service: CodeService) -> None:
        self._service = service
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with grpc_server(self._service) as self.target:
            self._ready.set()
            await self._over.wait()

    def wait_for(self, event: asyncio.Event) -> None:
        """Waits for an event of the server's loop; the test's time limit ends a wait for what never comes."""
        asyncio.run_coroutine_threadsafe(event.wait(), self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


@pytest.fixture
def service(codegemma: Tokenizer) -> Service:
    return Service(ScriptedBackend(codegemma, "return 1"))


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    server = Server(service)
    yield server
    server.stop()
