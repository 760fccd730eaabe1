"""Requests to a `CodeService`, and what it answers, read to the end."""

from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import pytest

from serving.config import GatewayConfig, Role
from serving.errors import ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.request import ChatPrompt, CodeRequest, End, FimPrompt, Message, Piece, Prompt, Speaker, TextPrompt
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, served_model

FIM_PROMPT = FimPrompt(prefix="def f():\n    ", suffix="\n")
CHAT_PROMPT = ChatPrompt((Message(Speaker.USER, "Hi"),))
TEXT_PROMPT = TextPrompt("def f")


def code_request(prompt: Prompt = TEXT_PROMPT, **fields: Any) -> CodeRequest:
    return CodeRequest(request_id="r", prompt=prompt, **fields)


async def answer(service: CodeService, *requests: CodeRequest) -> tuple[list[Piece], End]:
    async with aclosing(service.generate(*requests)) as answer:
        parts = [part async for part in answer]
    *pieces, end = parts
    assert isinstance(end, End)
    assert all(isinstance(piece, Piece) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, Piece)], end


def text_in(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def text_of(service: CodeService, request: CodeRequest) -> str:
    return text_in((await answer(service, request))[0])


async def refusal(service: CodeService, *requests: CodeRequest) -> ServingError:
    with pytest.raises(ServingError) as error:
        await answer(service, *requests)
    return error.value


def two_models(fim: ScriptedBackend, chat: ScriptedBackend) -> CodeService:
    models = [served_model(fim, "codegemma-2b", Role.FIM, aliases=("small",)), served_model(chat, "it", Role.CHAT)]
    return CodeService(models, GatewayConfig(), access=OpenAccess())
