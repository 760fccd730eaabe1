"""The routes of OpenAI's API."""

from typing import Any

from starlette.responses import Response

from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.openai.answers import (
    AnswerObjects,
    ChatObjects,
    CompletionObjects,
    StreamedObjects,
    WholeObject,
    model_object,
)
from serving.gateway.http.openai.errors import PREFIXES, error_body
from serving.gateway.http.openai.requests import chat_request, completion_requests, words
from serving.gateway.http.openai.response_answer import ResponseObject, StreamedResponse, WholeResponse
from serving.gateway.http.openai.response_body import WORDS, checked_response_body, response_request
from serving.gateway.http.openai.schema import ChatBody, CompletionBody, GenerationBody, checked_body
from serving.gateway.http.responses import json_response


async def _models(call: HttpCall) -> Response:
    return json_response({"object": "list", "data": list(map(model_object, call.service.models()))})


async def _model(call: HttpCall) -> Response:
    return json_response(model_object(call.service.model(call.path_params["name"])))


def _completions(call: HttpCall, content: dict[str, Any]) -> Generation:
    body = checked_body(CompletionBody, content)
    objects = CompletionObjects(f"cmpl-{call.metadata.request_id}")
    return Generation(completion_requests(body), _answer(body, objects), words(body))


async def _chat_completions(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_body(ChatBody, content)
        objects = ChatObjects(f"chatcmpl-{call.metadata.request_id}")
        return Generation([chat_request(body)], _answer(body, objects), words(body))

    return await call.json(generation)


async def _responses(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_response_body(content)
        response = ResponseObject(call.metadata.request_id, body)
        answer = StreamedResponse(response) if body.stream else WholeResponse(response)
        return Generation([response_request(body)], answer, WORDS)

    return await call.json(generation)


def _answer(body: GenerationBody, objects: AnswerObjects) -> WholeAnswer | StreamedAnswer:
    if body.stream:
        return StreamedObjects(objects, include_usage=body.stream_options.include_usage)
    return WholeObject(objects)


OPENAI = Api(
    routes=(
        ApiRoute("GET", "/v1/models", _models),
        ApiRoute("GET", "/v1/models/{name:path}", _model),
        ApiRoute("POST", "/v1/completions", BodyHandler(_completions)),
        ApiRoute("POST", "/beta/completions", BodyHandler(_completions)),  # DeepSeek fills in here
        ApiRoute("POST", "/v1/beta/completions", BodyHandler(_completions)),
        ApiRoute("POST", "/v1/chat/completions", _chat_completions),
        ApiRoute("POST", "/v1/responses", _responses),
    ),
    error_body=error_body,
    prefixes=PREFIXES,
)
