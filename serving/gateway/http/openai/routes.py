"""The routes of OpenAI's API."""

from starlette.responses import Response

from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import SSE
from serving.gateway.http.openai import shapes
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
from serving.gateway.http.openai.response_body import WORDS, ResponseBody, response_request
from serving.gateway.http.openai.schema import ChatBody, CompletionBody, GenerationBody
from serving.gateway.http.responses import json_response


async def _models(call: HttpCall) -> Response:
    return json_response({"object": "list", "data": list(map(model_object, call.models()))})


async def _model(call: HttpCall) -> Response:
    return json_response(model_object(await call.model(call.path_params["name"])))


def _completions(call: HttpCall, body: CompletionBody) -> Generation:
    objects = CompletionObjects(f"cmpl-{call.metadata.request_id}")
    return Generation(completion_requests(body), _answer(body, objects), words(body))


def _chat_completions(call: HttpCall, body: ChatBody) -> Generation:
    objects = ChatObjects(f"chatcmpl-{call.metadata.request_id}")
    return Generation([chat_request(body)], _answer(body, objects), words(body))


def _responses(call: HttpCall, body: ResponseBody) -> Generation:
    response = ResponseObject(call.metadata.request_id, body)
    answer = StreamedResponse(response) if body.stream else WholeResponse(response)
    return Generation([response_request(body)], answer, WORDS)


def _answer(body: GenerationBody, objects: AnswerObjects) -> WholeAnswer | StreamedAnswer:
    if body.stream:
        return StreamedObjects(objects, include_usage=body.stream_options.include_usage)
    return WholeObject(objects)


def _completions_at(path: str) -> ApiRoute:
    shape = AnswerShape(shapes.Completion, shapes.CompletionChunk, SSE, _DONE)
    example = {"prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))", "max_tokens": 32}
    handler = BodyHandler(CompletionBody, _completions)
    return ApiRoute("POST", path, handler, "Complete text or fill in code", shape, example)


_DONE = "`data: [DONE]` ends it."

OPENAI = Api(
    name="OpenAI",
    routes=(
        ApiRoute("GET", "/v1/models", _models, "List the models", AnswerShape(shapes.Models)),
        ApiRoute("GET", "/v1/models/{name:path}", _model, "Describe a model", AnswerShape(shapes.Model)),
        _completions_at("/v1/completions"),
        _completions_at("/beta/completions"),  # DeepSeek fills in here
        _completions_at("/v1/beta/completions"),
        ApiRoute(
            "POST",
            "/v1/chat/completions",
            BodyHandler(ChatBody, _chat_completions),
            "Answer a conversation",
            AnswerShape(shapes.ChatCompletion, shapes.ChatCompletionChunk, SSE, _DONE),
            {"messages": [{"role": "user", "content": "Reverse a list in Python."}], "max_tokens": 32},
        ),
        ApiRoute(
            "POST",
            "/v1/responses",
            BodyHandler(ResponseBody, _responses),
            "Answer a conversation, without state",
            AnswerShape(
                shapes.Response, shapes.ResponseEvent, SSE, "`response.completed` or `response.incomplete` is last."
            ),
            {"input": "Reverse a list in Python.", "max_output_tokens": 32},
        ),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
