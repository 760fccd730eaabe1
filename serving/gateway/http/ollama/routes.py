"""The routes of Ollama's API."""

from starlette.responses import Response

from serving.errors import Reason, ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation, Reply
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import NDJSON
from serving.gateway.http.ollama import shapes
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
from serving.gateway.http.ollama.models import listed_model, named_model, running_model, shown_model
from serving.gateway.http.ollama.requests import WORDS, chat_request, generate_request
from serving.gateway.http.ollama.schema import AnswerBody, ChatBody, GenerateBody, ModelBody
from serving.gateway.http.responses import json_response
from serving.models.adapted_id import split_id

_VERSION = "0.12.0"
"""The version of Ollama whose API this is; clients ask whether it is new enough for them."""


async def _version(call: HttpCall) -> Response:
    return json_response({"version": _VERSION})


async def _tags(call: HttpCall) -> Response:
    return json_response({"models": list(map(listed_model, call.models()))})


async def _ps(call: HttpCall) -> Response:
    unavailable = (await call.service.health()).unavailable
    running = [model for model in call.models() if split_id(model.id)[0] not in unavailable]
    return json_response({"models": list(map(running_model, running))})


async def _show(call: HttpCall, body: ModelBody) -> Response:
    return json_response(shown_model(await named_model(call.model, body.model)))


async def _generate(call: HttpCall, body: GenerateBody) -> Reply:
    model = await named_model(call.model, body.model)
    if not (body.prompt or body.suffix):
        return json_response(loaded(body.model, generated))
    return Generation([generate_request(body, model)], _answer(body, generated), {**WORDS, "messages": "prompt"})


async def _chat(call: HttpCall, body: ChatBody) -> Reply:
    model = await named_model(call.model, body.model)
    if not body.messages:
        return json_response(loaded(body.model, said))
    return Generation([chat_request(body, model)], _answer(body, said), WORDS)


def _answer(body: AnswerBody, text: Text) -> WholeAnswer | StreamedAnswer:
    objects = AnswerObjects(body.model, text)
    return StreamedLines(objects) if body.stream else WholeObject(objects)


async def _managed_elsewhere(call: HttpCall) -> Response:
    raise ServingError(
        Reason.NOT_IMPLEMENTED, "Models come from the configuration of this server; its operator can change them."
    )


async def _no_embeddings(call: HttpCall) -> Response:
    raise ServingError(Reason.NOT_IMPLEMENTED, "This server has no embeddings; it completes code and chats.")


_LAST = "The object with `done` is last."
_NOT_HERE = "Not implemented"
_SOME_MODEL = "gemma-3-270m"
"""That of the demo, in examples."""

OLLAMA = Api(
    name="Ollama",
    routes=(
        ApiRoute("GET", "/api/version", _version, "The version of this API", AnswerShape(shapes.Version)),
        ApiRoute("GET", "/api/tags", _tags, "List the models", AnswerShape(shapes.Tags)),
        ApiRoute("GET", "/api/ps", _ps, "List the models that answer", AnswerShape(shapes.Running)),
        ApiRoute(
            "POST",
            "/api/show",
            BodyHandler(ModelBody, _show),
            "Describe a model",
            AnswerShape(shapes.ShownModel),
            {"model": _SOME_MODEL},
        ),
        ApiRoute(
            "POST",
            "/api/generate",
            BodyHandler(GenerateBody, _generate),
            "Complete text or fill in code",
            AnswerShape(shapes.Generated, shapes.Generated, NDJSON, _LAST),
            {"model": _SOME_MODEL, "prompt": "def add(a, b):\n    ", "options": {"num_predict": 32}},
        ),
        ApiRoute(
            "POST",
            "/api/chat",
            BodyHandler(ChatBody, _chat),
            "Answer a conversation",
            AnswerShape(shapes.Said, shapes.Said, NDJSON, _LAST),
            {"model": _SOME_MODEL, "messages": [{"role": "user", "content": "Hi"}], "options": {"num_predict": 32}},
        ),
        ApiRoute("POST", "/api/pull", _managed_elsewhere, _NOT_HERE),
        ApiRoute("POST", "/api/push", _managed_elsewhere, _NOT_HERE),
        ApiRoute("POST", "/api/create", _managed_elsewhere, _NOT_HERE),
        ApiRoute("POST", "/api/copy", _managed_elsewhere, _NOT_HERE),
        ApiRoute("DELETE", "/api/delete", _managed_elsewhere, _NOT_HERE),
        ApiRoute("HEAD", "/api/blobs/{digest}", _managed_elsewhere, _NOT_HERE),
        ApiRoute("POST", "/api/blobs/{digest}", _managed_elsewhere, _NOT_HERE),
        ApiRoute("POST", "/api/embed", _no_embeddings, _NOT_HERE),
        ApiRoute("POST", "/api/embeddings", _no_embeddings, _NOT_HERE),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
