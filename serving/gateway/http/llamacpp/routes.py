"""The routes of llama.cpp's server. Its `/health` is the one of all APIs, in `app.py`."""

import asyncio

from starlette.responses import Response

from serving.config import Role
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import SSE
from serving.gateway.http.llamacpp import shapes
from serving.gateway.http.llamacpp.answers import CompletionObjects, StreamedCompletions, WholeCompletions
from serving.gateway.http.llamacpp.errors import PREFIXES, error_body
from serving.gateway.http.llamacpp.requests import (
    COMPLETION_WORDS,
    INFILL_WORDS,
    completion_request,
    infill_request,
)
from serving.gateway.http.llamacpp.schema import (
    CompletionBody,
    DetokenizeBody,
    GenerationBody,
    InfillBody,
    TokenizeBody,
)
from serving.gateway.http.llamacpp.tokens import detokenized, pieces, tokenized
from serving.gateway.http.openai.requests import chat_request
from serving.gateway.http.openai.schema import ChatBody
from serving.gateway.http.responses import json_response
from serving.gateway.request import ChatPrompt, CodeRequest, TextPrompt, TokenPrompt
from serving.gateway.text.tokenizer import BOS, EOS
from serving.gateway.validation import check_not_empty


def _infill(call: HttpCall, body: InfillBody) -> Generation:
    return Generation([infill_request(body)], _answer(body), INFILL_WORDS)


def _completion(call: HttpCall, body: CompletionBody) -> Generation:
    return Generation([completion_request(body)], _answer(body), COMPLETION_WORDS)


async def _tokenize(call: HttpCall, body: TokenizeBody) -> Response:
    request = call.applied(CodeRequest(prompt=TextPrompt(body.text), model=body.model))
    async with call.service.served(request) as model:
        ids = await asyncio.to_thread(tokenized, model, body)
    tokens = pieces(model.tokenizer, ids) if body.with_pieces else ids
    return json_response({"tokens": tokens, "count": len(ids), "max_model_len": model.max_context})


async def _detokenize(call: HttpCall, body: DetokenizeBody) -> Response:
    request = call.applied(CodeRequest(prompt=TokenPrompt(body.tokens), model=body.model))
    async with call.service.served(request) as model:
        text = await asyncio.to_thread(detokenized, model.tokenizer, body.tokens)
    return json_response({"content": text, "prompt": text})  # llama.cpp's name for it, and vLLM's


async def _tokenizer_info(call: HttpCall) -> Response:
    return json_response({"bos_token": BOS, "eos_token": EOS})


async def _apply_template(call: HttpCall, body: ChatBody) -> Response:
    request = call.applied(chat_request(body))
    check_not_empty(request.prompt)
    assert isinstance(request.prompt, ChatPrompt)
    async with call.service.served(request) as model:
        return json_response({"prompt": model.renderer.conversation_text(request.prompt.messages)})


async def _props(call: HttpCall) -> Response:
    models = call.models()
    model = next((model for model in models if Role.FIM in model.roles), models[0])
    return json_response(
        {
            "default_generation_settings": {"n_ctx": model.context_length},
            "model_path": model.id,
            "model_alias": model.id,
            "modalities": {"vision": False, "audio": False},
            "bos_token": BOS,
            "eos_token": EOS,
            "build_info": "codegemma-serving",
        }
    )


def _answer(body: GenerationBody) -> WholeAnswer | StreamedAnswer:
    objects = CompletionObjects(body.response_fields)
    return StreamedCompletions(objects) if body.stream else WholeCompletions(objects)


_COMPLETIONS = AnswerShape(shapes.Completions, shapes.Completion, SSE, "A completion with `stop` ends each answer.")

LLAMACPP = Api(
    name="llama.cpp",
    routes=(
        ApiRoute(
            "POST",
            "/infill",
            BodyHandler(InfillBody, _infill),
            "Fill in code",
            _COMPLETIONS,
            {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n\nprint(add(1, 2))", "n_predict": 32},
        ),
        ApiRoute(
            "POST",
            "/completion",
            BodyHandler(CompletionBody, _completion),
            "Complete text",
            _COMPLETIONS,
            {"prompt": "def add(a, b):\n    ", "n_predict": 32},
        ),
        ApiRoute(
            "POST",
            "/tokenize",
            BodyHandler(TokenizeBody, _tokenize),
            "Text to tokens",
            AnswerShape(shapes.Tokens),
            {"content": "def add(a, b):"},
        ),
        ApiRoute(
            "POST",
            "/detokenize",
            BodyHandler(DetokenizeBody, _detokenize),
            "Tokens to text",
            AnswerShape(shapes.Content),
            {"tokens": [1, 2, 3]},
        ),
        ApiRoute(  # vLLM's: lm-eval looks there for a tokenizer
            "GET", "/tokenizer_info", _tokenizer_info, "Name control tokens", AnswerShape(shapes.TokenizerInfo)
        ),
        ApiRoute(
            "POST",
            "/apply-template",
            BodyHandler(ChatBody, _apply_template),
            "A conversation as a raw prompt",
            AnswerShape(shapes.Prompt),
            {"messages": [{"role": "user", "content": "Reverse a list in Python."}]},
        ),
        ApiRoute("GET", "/props", _props, "Describe the model that fills in", AnswerShape(shapes.Props)),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
