"""A real HTTP gateway on loopback whose answers a test writes."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Literal

import pytest
import uvicorn

from serving.config import GatewayConfig, Role
from serving.engine.request import FinishReason
from serving.errors import FieldError, Reason
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.request import AnswerPart, ChatPrompt, CodeRequest, End, Piece, Usage
from serving.gateway.service import CodeService, ModelInfo
from serving.models.adapted_id import AllowedAdapters


class ScriptedService(CodeService):
    """Answers every request with the same pieces, and remembers what it was asked.

    Attributes:
      pieces: the answer.
      finish_reason: why it ends.
      stays_open: whether the answer stays unfinished after its pieces, until the client goes away.
      closed: set when an answer ended, in whatever way.
    """

    def __init__(self) -> None:
        super().__init__([], GatewayConfig(), access=OpenAccess())
        self.pieces: list[str] = ["n < 2:\n", "        return n"]
        self.finish_reason = FinishReason.STOP
        self.stays_open = False
        self.asked: list[CodeRequest] = []
        self.closed = threading.Event()

    def models(self, adapters: AllowedAdapters = None) -> tuple[ModelInfo, ...]:
        return (
            _model("codegemma-2b", (Role.FIM,), "native", ("code", "gemma")),
            _model("gemma-3-270m", (), "prefix"),
            _model("codegemma-7b-it", (Role.CHAT,), None),
        )

    async def model(self, name: str, adapters: AllowedAdapters = None) -> ModelInfo:
        return self._named(name)

    def _named(self, name: str) -> ModelInfo:
        for model in self.models():
            if name in (model.id, *model.aliases):
                return model
        raise FieldError(Reason.MODEL_NOT_FOUND, "model", f"is '{name}', which is not served")

    def _model_for(self, request: CodeRequest) -> ModelInfo:
        shape = "codegemma-7b-it" if isinstance(request.prompt, ChatPrompt) else "codegemma-2b"
        return self._named(request.model or shape)

    async def generate(self, *requests: CodeRequest) -> AsyncGenerator[AnswerPart, None]:
        model = self._model_for(requests[0]).id
        self.asked += requests
        try:
            for piece in self.pieces:
                yield Piece(model=model, text=piece)
            if self.stays_open:
                await asyncio.Event().wait()
            yield Piece(model=model, finish_reason=self.finish_reason)
            yield End(model=model, usage=Usage(prompt_tokens=1, completion_tokens=len(self.pieces)))
        finally:
            self.closed.set()


def _model(
    name: str, roles: tuple[Role, ...], fim: Literal["native", "prefix"] | None, aliases: tuple[str, ...] = ()
) -> ModelInfo:
    chat: Literal["turns"] | None = "turns" if Role.CHAT in roles else None
    return ModelInfo(id=name, aliases=aliases, roles=roles, fim=fim, chat=chat, context_length=8192, version="1")


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def url(service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The gateway's address; the commands find it in their environment."""
    app = build_http_app(lambda: service, GatewayConfig())
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen()  # who connects before the server has started waits for it
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    address = f"http://127.0.0.1:{socket.getsockname()[1]}"
    monkeypatch.setenv("CODEGEMMA_URL", address)
    yield address
    server.should_exit = True
    thread.join()
