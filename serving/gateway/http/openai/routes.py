"""The routes of OpenAI's API."""

from typing import Any

from starlette.responses import Response

from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Api, ApiRoute, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.openai.answers import (
    AnswerObjects,
    ChatObjects,
    CompletionObjects,
    StreamedObjects,
    WholeObject,
    model_object,
)
from serving.gateway.http.openai.errors import error_body
from serving.gateway.http.openai.requests import COMPLETION_WORDS, chat_request, chat_words, completion_requests
from serving.gateway.http.openai.schema import ChatBody, CompletionBody, GenerationBody, checked_body
from serving.gateway.http.responses import json_response


async def _models(call: HttpCall) -> Response:
    return json_response({"object": "list", "data": list(map(model_object, call.service.models()))})


async def _model(call: HttpCall) -> Response:
    return json_response(model_object(call.service.model(call.path_params["name"])))


async def _completions(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_body(CompletionBody, content)
        objects = CompletionObjects(f"cmpl-{call.metadata.request_id}")
        return Generation(completion_requests(body), _answer(body, objects), COMPLETION_WORDS)

    return await call.json(generation)


async def _chat_completions(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_body(ChatBody, content)
        objects = ChatObjects(f"chatcmpl-{call.metadata.request_id}")
        return Generation([chat_request(body)], _answer(body, objects), chat_words(body))

    return await call.json(generation)


def _answer(body: GenerationBody, objects: AnswerObjects) -> WholeAnswer | StreamedAnswer:
    if body.stream:
        return StreamedObjects(objects, include_usage=body.stream_options.include_usage)
    return WholeObject(objects)


OPENAI = Api(
    routes=(
        ApiRoute("GET", "/v1/models", _models),
        ApiRoute("GET", "/v1/models/{name}", _model),
        ApiRoute("POST", "/v1/completions", _completions),
        ApiRoute("POST", "/v1/chat/completions", _chat_completions),
    ),
    error_body=error_body,
    prefixes=("/v1/",),
)
