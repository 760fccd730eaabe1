"""The routes of Tabby's server. Its chat is OpenAI's, at the same path."""

from contextlib import suppress

from starlette.responses import Response

from serving.errors import ServingError
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.responses import json_response
from serving.gateway.http.tabby import shapes
from serving.gateway.http.tabby.answers import Completion
from serving.gateway.http.tabby.errors import PREFIXES, error_body
from serving.gateway.http.tabby.health import health_body
from serving.gateway.http.tabby.requests import WORDS, completion_request
from serving.gateway.http.tabby.schema import CompletionBody, EventBody, is_tabby

_EVENTS = {
    "view": CompletionEvent.SHOWN,
    "select": CompletionEvent.ACCEPTED,
    "dismiss": CompletionEvent.REJECTED,
}
_A_LINE = "line"
"""The `select_kind` of a completion of which a line was accepted; how long that is, the agent does not say."""


async def _health(call: HttpCall) -> Response:
    return json_response(health_body(call.models()))


async def _server_setting(call: HttpCall) -> Response:
    return json_response({"disable_client_side_telemetry": True})


def _completions(call: HttpCall, body: CompletionBody) -> Generation:
    return Generation([completion_request(body)], Completion(), WORDS)


def _events(call: HttpCall, body: EventBody) -> Response:
    """Takes whatever it is: an agent could do nothing about an event that cannot be counted."""
    event = _EVENTS.get(body.type)
    if event is CompletionEvent.ACCEPTED and call.query.get("select_kind") == _A_LINE:
        event = CompletionEvent.PARTLY_ACCEPTED
    if event:
        with suppress(ServingError):  # of an answer that is not from here
            call.service.records.completion_event(call.caller, call.metadata, body.completion_id, event)
    return json_response({})


TABBY = Api(
    name="Tabby",
    routes=(
        ApiRoute("GET", "/v1/health", _health, "Name the models", AnswerShape(shapes.Health)),
        ApiRoute("POST", "/v1/health", _health, "Name the models", AnswerShape(shapes.Health)),
        ApiRoute(
            "GET",
            "/v1beta/server_setting",
            _server_setting,
            "What the server wants of an agent",
            AnswerShape(shapes.ServerSetting),
        ),
        ApiRoute(
            "POST",
            "/v1/completions",
            BodyHandler(CompletionBody, _completions, claims=is_tabby),
            "Fill in code",
            AnswerShape(shapes.Completion),
            {"segments": {"prefix": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))"}},
        ),
        ApiRoute(
            "POST",
            "/v1/events",
            BodyHandler(EventBody, _events),
            "Tell of an answer",
            AnswerShape(shapes.Counted),
            {"type": "view", "completion_id": "cmpl-0"},
        ),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
