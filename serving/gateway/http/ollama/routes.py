"""The routes of Ollama's API."""

from typing import Any

from starlette.responses import Response

from serving.errors import Reason, ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Api, ApiRoute, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.ollama.answers import (
    AnswerObjects,
    StreamedLines,
    Text,
    WholeObject,
    generated,
    loaded,
    said,
)
from serving.gateway.http.ollama.errors import PREFIXES, error_body
from serving.gateway.http.ollama.models import listed_model, running_model, shown_model
from serving.gateway.http.ollama.requests import WORDS, chat_request, generate_request
from serving.gateway.http.ollama.schema import AnswerBody, ChatBody, GenerateBody, ModelBody
from serving.gateway.http.responses import json_response

_VERSION = "0.12.0"
"""The version of Ollama whose API this is; clients ask whether it is new enough for them."""


async def _version(call: HttpCall) -> Response:
    return json_response({"version": _VERSION})


async def _tags(call: HttpCall) -> Response:
    return json_response({"models": list(map(listed_model, call.service.models()))})


async def _ps(call: HttpCall) -> Response:
    unavailable = (await call.service.health()).unavailable
    running = [model for model in call.service.models() if model.id not in unavailable]
    return json_response({"models": list(map(running_model, running))})


async def _show(call: HttpCall) -> Response:
    body = await call.json(ModelBody.model_validate)
    return json_response(shown_model(call.service.model(body.model_id)))


async def _generate(call: HttpCall) -> Generation | Response:
    def reply(content: dict[str, Any]) -> Generation | Response:
        body = GenerateBody.model_validate(content)
        model = call.service.model(body.model_id)
        if not (body.prompt or body.suffix):
            return json_response(loaded(body.model, generated))
        return Generation([generate_request(body, model)], _answer(body, generated), {**WORDS, "messages": "prompt"})

    return await call.json(reply)


async def _chat(call: HttpCall) -> Generation | Response:
    def reply(content: dict[str, Any]) -> Generation | Response:
        body = ChatBody.model_validate(content)
        call.service.model(body.model_id)
        if not body.messages:
            return json_response(loaded(body.model, said))
        return Generation([chat_request(body)], _answer(body, said), WORDS)

    return await call.json(reply)


def _answer(body: AnswerBody, text: Text) -> WholeAnswer | StreamedAnswer:
    objects = AnswerObjects(body.model, text)
    return StreamedLines(objects) if body.stream else WholeObject(objects)


async def _managed_elsewhere(call: HttpCall) -> Response:
    raise ServingError(
        Reason.NOT_IMPLEMENTED, "Models come from the configuration of this server; its operator can change them."
    )


async def _no_embeddings(call: HttpCall) -> Response:
    raise ServingError(Reason.NOT_IMPLEMENTED, "This server has no embeddings; it completes code and chats.")


OLLAMA = Api(
    routes=(
        ApiRoute("GET", "/api/version", _version),
        ApiRoute("GET", "/api/tags", _tags),
        ApiRoute("GET", "/api/ps", _ps),
        ApiRoute("POST", "/api/show", _show),
        ApiRoute("POST", "/api/generate", _generate),
        ApiRoute("POST", "/api/chat", _chat),
        ApiRoute("POST", "/api/pull", _managed_elsewhere),
        ApiRoute("POST", "/api/push", _managed_elsewhere),
        ApiRoute("POST", "/api/create", _managed_elsewhere),
        ApiRoute("POST", "/api/copy", _managed_elsewhere),
        ApiRoute("DELETE", "/api/delete", _managed_elsewhere),
        ApiRoute("HEAD", "/api/blobs/{digest}", _managed_elsewhere),
        ApiRoute("POST", "/api/blobs/{digest}", _managed_elsewhere),
        ApiRoute("POST", "/api/embed", _no_embeddings),
        ApiRoute("POST", "/api/embeddings", _no_embeddings),
    ),
    error_body=error_body,
    prefixes=PREFIXES,
)
