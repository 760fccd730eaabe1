"""Strangers' bytes at the service's two ports: the details are in tests/haproxy, without Ray."""

from pathlib import Path

import grpc
import pytest
from codegemma.v1.code_assist_service_pb2 import CompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from tests.haproxy.front import Front, Ports
from tests.raw_http2 import grpc_status
from tests.service.conftest import FIM, Service

_BODY = b'{"model": "%b", "prompt": "a", "suffix": "b", "max_tokens": 64}' % FIM.encode()


@pytest.fixture
def front(service: Service) -> Front:
    http, grpc_port = (int(address.rpartition(":")[2]) for address in (service.url, service.grpc_target))
    return Front(Ports(http, grpc_port, metrics=0, stats=0), Path())


def test_a_session_id_that_is_no_text_is_named(front: Front) -> None:
    answer = front.ask("POST /v1/completions", {"x-session-id": b"\xff"}, _BODY)
    assert (answer.status, answer.error["param"]) == (400, "x-session-id")


def test_a_request_id_that_is_no_text_is_replaced(front: Front) -> None:
    answer = front.ask("POST /v1/completions", {"x-request-id": b"\xff"}, _BODY)
    assert answer.status == 200
    assert answer.headers["x-request-id"].isascii()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("serve_multiplexed_model_id", b"\xff"),
        ("x-request-timeout-seconds", b"0.001"),
        ("x-request-disconnect-disabled", b"?1"),
        ("upgrade", b"websocket"),
    ],
)
def test_headers_of_ray_serve_change_nothing(front: Front, header: str, value: bytes) -> None:
    answer = front.ask("POST /v1/completions", {header: value}, _BODY)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"


def test_a_path_that_is_no_text_leaves_grpc_as_it_was(front: Front, channel: grpc.Channel) -> None:
    for path in (b"/\xff", b"/codegemma.v1.CodeAssistService/\xff"):
        assert grpc_status(front.call(path)) == grpc.StatusCode.UNIMPLEMENTED.value[0]
    fim = FimInput(prefix="a", suffix="b")
    assert CodeAssistServiceStub(channel).Complete(CompleteRequest(model=FIM, fim=fim), timeout=60).model == FIM
