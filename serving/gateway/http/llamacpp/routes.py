"""The routes of llama.cpp's server. Its `/health` is the one of all APIs, in `app.py`."""

import asyncio
from typing import Any

from starlette.responses import Response

from serving.config import Role
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Api, ApiRoute, Generation
from serving.gateway.http.call import HttpCall
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
    checked_body,
)
from serving.gateway.http.llamacpp.tokens import detokenized, pieces, tokenized
from serving.gateway.http.openai.requests import chat_request
from serving.gateway.http.openai.schema import ChatBody
from serving.gateway.http.openai.schema import checked_body as checked_chat_body
from serving.gateway.http.responses import json_response
from serving.gateway.request import ChatPrompt, CodeRequest, TextPrompt, TokenPrompt
from serving.gateway.text.tokenizer import BOS, EOS


async def _infill(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_body(InfillBody, content)
        return Generation([infill_request(body)], _answer(body), INFILL_WORDS)

    return await call.json(generation)


async def _completion(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = checked_body(CompletionBody, content)
        return Generation([completion_request(body)], _answer(body), COMPLETION_WORDS)

    return await call.json(generation)


async def _tokenize(call: HttpCall) -> Response:
    body = await call.json(TokenizeBody.model_validate)
    request = call.applied(CodeRequest(prompt=TextPrompt(body.content), model=body.model))
    async with call.service.served(request) as model:
        ids = await asyncio.to_thread(tokenized, model, body)
    tokens = pieces(model.tokenizer, ids) if body.with_pieces else ids
    return json_response({"tokens": tokens, "count": len(ids), "max_model_len": model.max_context})


async def _detokenize(call: HttpCall) -> Response:
    body = await call.json(DetokenizeBody.model_validate)
    request = call.applied(CodeRequest(prompt=TokenPrompt(body.tokens), model=body.model))
    async with call.service.served(request) as model:
        text = await asyncio.to_thread(detokenized, model.tokenizer, body.tokens)
    return json_response({"content": text, "prompt": text})  # llama.cpp's name for it, and vLLM's


async def _tokenizer_info(call: HttpCall) -> Response:
    return json_response({"bos_token": BOS, "eos_token": EOS})


async def _apply_template(call: HttpCall) -> Response:
    request = call.applied(await call.json(lambda content: chat_request(checked_chat_body(ChatBody, content))))
    assert isinstance(request.prompt, ChatPrompt)
    async with call.service.served(request) as model:
        return json_response({"prompt": model.renderer.conversation_text(request.prompt.messages)})


async def _props(call: HttpCall) -> Response:
    models = call.service.models()
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


LLAMACPP = Api(
    routes=(
        ApiRoute("POST", "/infill", _infill),
        ApiRoute("POST", "/completion", _completion),
        ApiRoute("POST", "/tokenize", _tokenize),
        ApiRoute("POST", "/detokenize", _detokenize),
        ApiRoute("GET", "/tokenizer_info", _tokenizer_info),  # vLLM's: lm-eval looks there for a tokenizer
        ApiRoute("POST", "/apply-template", _apply_template),
        ApiRoute("GET", "/props", _props),
    ),
    error_body=error_body,
    prefixes=PREFIXES,
)
