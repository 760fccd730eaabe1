"""The routes of Anthropic's Messages API."""

from starlette.responses import Response

from serving.gateway.http.anthropic import shapes
from serving.gateway.http.anthropic.answers import MessageEvents, WholeMessage
from serving.gateway.http.anthropic.errors import PREFIXES, error_body
from serving.gateway.http.anthropic.requests import WORDS, conversation_request, message_request
from serving.gateway.http.anthropic.schema import ConversationBody, MessageBody
from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import SSE
from serving.gateway.http.responses import json_response


def _messages(call: HttpCall, body: MessageBody) -> Generation:
    answer = MessageEvents if body.stream else WholeMessage
    return Generation([message_request(body)], answer(f"msg_{call.metadata.request_id}"), WORDS)


async def _count_tokens(call: HttpCall, body: ConversationBody) -> Response:
    tokens, _ = await call.service.count_tokens(call.applied(conversation_request(body)))
    return json_response({"input_tokens": tokens})


ANTHROPIC = Api(
    name="Anthropic",
    routes=(
        ApiRoute(
            "POST",
            "/v1/messages",
            BodyHandler(MessageBody, _messages),
            "Answer a conversation",
            AnswerShape(shapes.Message, shapes.Event, SSE, "`message_stop` is last."),
            {"messages": [{"role": "user", "content": "Reverse a list in Python."}], "max_tokens": 32},
        ),
        ApiRoute(
            "POST",
            "/v1/messages/count_tokens",
            BodyHandler(ConversationBody, _count_tokens),
            "Count the tokens of a conversation",
            AnswerShape(shapes.Counted),
            {"messages": [{"role": "user", "content": "Reverse a list in Python."}]},
        ),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
