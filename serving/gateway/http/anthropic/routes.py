"""The routes of Anthropic's Messages API."""

from typing import Any

from starlette.responses import Response

from serving.gateway.http.anthropic.answers import MessageEvents, WholeMessage
from serving.gateway.http.anthropic.errors import PREFIXES, error_body
from serving.gateway.http.anthropic.requests import WORDS, conversation_request, message_request
from serving.gateway.http.anthropic.schema import ConversationBody, MessageBody
from serving.gateway.http.api import Api, ApiRoute, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.responses import json_response


async def _messages(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = MessageBody.model_validate(content)
        answer = MessageEvents if body.stream else WholeMessage
        return Generation([message_request(body)], answer(f"msg_{call.metadata.request_id}"), WORDS)

    return await call.json(generation)


async def _count_tokens(call: HttpCall) -> Response:
    request = conversation_request(await call.json(ConversationBody.model_validate))
    tokens, _ = await call.service.count_tokens(call.applied(request))
    return json_response({"input_tokens": tokens})


ANTHROPIC = Api(
    routes=(
        ApiRoute("POST", "/v1/messages", _messages),
        ApiRoute("POST", "/v1/messages/count_tokens", _count_tokens),
    ),
    error_body=error_body,
    prefixes=PREFIXES,
)
