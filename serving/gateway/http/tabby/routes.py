"""The routes of Tabby's server. Its chat is OpenAI's, at the same path."""

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from serving.errors import ServingError
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.http.api import Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.responses import json_response
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
    return json_response(health_body(call.service))


async def _server_setting(call: HttpCall) -> Response:
    return json_response({"disable_client_side_telemetry": True})


def _completions(call: HttpCall, content: dict[str, Any]) -> Generation:
    request = completion_request(CompletionBody.model_validate(content))
    return Generation([request], Completion(), WORDS)


async def _events(call: HttpCall) -> Response:
    """Takes whatever it is: an agent could do nothing about an event that cannot be counted."""
    body = await call.json(EventBody.model_validate)
    event = _EVENTS.get(body.type)
    if event is CompletionEvent.ACCEPTED and call.query.get("select_kind") == _A_LINE:
        event = CompletionEvent.PARTLY_ACCEPTED
    if event:
        with suppress(ServingError):  # of an answer that is not from here
            call.service.records.completion_event(call.caller, call.metadata, body.completion_id, event)
    return json_response({})


TABBY = Api(
    routes=(
        ApiRoute("GET", "/v1/health", _health),
        ApiRoute("POST", "/v1/health", _health),
        ApiRoute("GET", "/v1beta/server_setting", _server_setting),
        ApiRoute("POST", "/v1/completions", BodyHandler(_completions, claims=is_tabby)),
        ApiRoute("POST", "/v1/events", _events),
    ),
    error_body=error_body,
    prefixes=PREFIXES,
)
