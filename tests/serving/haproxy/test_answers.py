"""HAProxy says what the Gateway would say."""

import grpc
import pytest

from serving.errors import Reason, ServingError
from serving.gateway.http.openai.routes import OPENAI
from serving.gateway.http.responses import error_response
from serving.haproxy.answers import ERROR_FILES, ERROR_STATUSES, NO_GATEWAY, grpc_error_file, http_error_file, json_rule
from tests.serving.haproxy.front import Answer


@pytest.mark.parametrize("status", ERROR_STATUSES)
def test_over_http_each_answer_is_the_gateways(status: int) -> None:
    answer = Answer.of(ERROR_FILES[http_error_file(status)])
    error = ServingError(Reason(answer.error["code"]), answer.error["message"])
    expected = error_response(OPENAI, error)
    assert (answer.status, answer.body) == (expected.status_code, expected.body)
    assert answer.headers == dict(expected.headers)


@pytest.mark.parametrize("status", ERROR_STATUSES)
def test_over_grpc_each_answer_has_the_code_of_the_same_reason(status: int) -> None:
    over_http = Answer.of(ERROR_FILES[http_error_file(status)])
    answer = Answer.of(ERROR_FILES[grpc_error_file(status)])
    code: grpc.StatusCode = ServingError(Reason(over_http.error["code"]), "").wire.grpc_code
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["grpc-status"] == str(code.value[0])
    assert answer.headers["grpc-message"] == over_http.error["message"]


def test_a_lost_gateway_is_unavailable_whatever_haproxy_calls_it() -> None:
    for status in (502, 503, 504):
        assert Answer.of(ERROR_FILES[http_error_file(status)]).error["message"] == NO_GATEWAY.message


def test_a_message_cannot_end_its_place_in_the_configuration() -> None:
    with pytest.raises(AssertionError):
        json_rule(ServingError(Reason.INTERNAL, "it's broken"))
