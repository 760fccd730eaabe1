"""HAProxy says what the Gateway would say."""

import json
from pathlib import Path

import pytest

from serving.errors import ServingError
from serving.gateway.http.api import Api, api_at
from serving.gateway.http.app import APIS
from serving.gateway.http.responses import error_response
from serving.haproxy import answers
from serving.haproxy.answers import ERROR_FILES, ERROR_STATUSES, FORMS, grpc_error_file
from tests.haproxy.front import Answer, Front

PATHS = ["/what", *(prefix for prefixes, _ in FORMS.values() for prefix in prefixes)]


def of(path: str) -> Api:
    return api_at(path, APIS)


@pytest.mark.parametrize("route", [route.path for api in APIS for route in api.routes])
def test_each_route_is_refused_in_the_form_of_its_api(route: str) -> None:
    """HAProxy knows the beginnings of paths, and not the routes."""
    forms = {prefix: body for prefixes, body in FORMS.values() for prefix in prefixes if route.startswith(prefix)}
    longest = max(forms, key=len, default="")
    assert forms.get(longest, FORMS["openai"][1]) is of(route).error_body


@pytest.mark.parametrize("path", PATHS)
def test_what_does_not_reach_a_gateway_is_refused_as_it_would(haproxy: Front, path: str) -> None:
    answer = haproxy.ask(f"BREW {path}")
    expected = error_response(of(path), answers.UNKNOWN_METHOD)
    assert (answer.status, answer.body) == (expected.status_code, expected.body)
    assert dict(expected.headers).items() <= answer.headers.items()


@pytest.mark.parametrize("path", PATHS)
def test_a_gateway_that_is_not_there_is_unavailable_in_the_form_of_the_api(lost: Front, path: str) -> None:
    answer, expected = lost.ask(f"POST {path}"), error_response(of(path), answers.NO_GATEWAY)
    assert (answer.status, answer.body) == (503, expected.body)
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
    assert "x-no-gateway" not in answer.headers


def test_every_error_has_a_body_for_each_api() -> None:
    for name, content in ERROR_FILES.items():
        if name.endswith(".map"):
            lines = dict(line.split(" ", 1) for line in content.decode().splitlines())
            assert lines.keys() == FORMS.keys()
            assert all(json.loads(body) for body in lines.values())


@pytest.mark.parametrize("status", ERROR_STATUSES)
def test_over_grpc_each_answer_has_the_code_of_the_same_reason(status: int) -> None:
    error: ServingError = answers._ERRORS[status]
    answer = Answer.of(ERROR_FILES[grpc_error_file(status)])
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["grpc-status"] == str(error.wire.grpc_code.value[0])
    assert answer.headers["grpc-message"] == error.message


def test_a_message_cannot_end_its_place_in_the_configuration() -> None:
    with pytest.raises(AssertionError):
        answers.grpc_rule(ServingError(answers.FAILED.reason, "it's broken"))
    with pytest.raises(AssertionError):
        answers.json_rule(answers.FAILED, Path("/tmp/it's"))
