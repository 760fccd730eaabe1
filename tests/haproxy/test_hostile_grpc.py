"""What HAProxy lets through to a Gateway over gRPC, and what it says to everything else."""

import json
from collections.abc import Iterator

import grpc
import pytest

from serving.servers.ray_headers import ADDRESS_HEADER
from tests.haproxy.front import Answer, Front
from tests.raw_http2 import call, grpc_headers, grpc_status

METHOD = "/codegemma.v1.CodeAssistService/Complete"
INVALID_ARGUMENT, UNIMPLEMENTED, UNAVAILABLE = 3, 12, 14


@pytest.fixture
def channel(haproxy: Front) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{haproxy.ports.grpc}") as channel:
        yield channel


@pytest.mark.parametrize(
    "path",
    [
        b"/\xff\xfe",
        METHOD.encode() + b"\xff",
        b"/codegemma.v1.CodeAssistService/\xc3\x28",
        METHOD.encode() + b"?a=1",
        b"/codegemma.v1.CodeAssistService/",
        b"/unknown.Service/Method",
        b"/",
        b"/ray.serve.RayServeAPIService/ListApplications",
    ],
)
def test_a_path_that_is_no_method_of_this_server_does_not_reach_it(haproxy: Front, path: bytes) -> None:
    answer = haproxy.call(path)
    assert grpc_status(answer) == UNIMPLEMENTED and b"application/grpc" in answer


@pytest.mark.parametrize("byte", [0x80, 0xFF, 0x1F, 0x7F])
def test_metadata_that_is_not_printable_ascii_is_refused(haproxy: Front, byte: int) -> None:
    assert grpc_status(haproxy.call(METHOD.encode(), (b"x-session-id", b"a%cb" % byte))) == INVALID_ARGUMENT


@pytest.mark.parametrize("name", [b"x-request-id", b"request_id"])
@pytest.mark.parametrize("value", [b"a\xff", b"two words", b"a" * 129])
def test_a_request_id_that_nobody_may_have_is_left_out_and_refuses_nothing(
    haproxy: Front, name: bytes, value: bytes
) -> None:
    answer = haproxy.call(METHOD.encode(), (name, value))
    assert grpc_status(answer) == 0 and value not in answer


def test_an_authority_that_is_not_ascii_reaches_nobody(haproxy: Front) -> None:
    assert METHOD.encode() not in haproxy.call(METHOD.encode(), authority=b"\xff")  # HAProxy resets the stream


def test_get_is_told_what_this_port_is_and_not_to_try_again(haproxy: Front) -> None:
    headers = [(b":method", b"GET"), *grpc_headers(METHOD.encode())[1:]]
    answer = haproxy.http2(call(headers, b""))
    assert b"This port speaks gRPC" in answer and b"retry-after" not in answer


def test_http_2_that_is_not_grpc_is_told_what_this_port_is(haproxy: Front) -> None:
    answer = haproxy.http2(call([*grpc_headers(METHOD.encode())[:4], (b"content-type", b"application/json")], b"{}"))
    assert b"This port speaks gRPC" in answer


def test_http_1_is_told_what_this_port_is(haproxy: Front) -> None:
    answer = Answer.of(haproxy.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", port=haproxy.ports.grpc))
    assert (answer.status, answer.error["code"]) == (404, "route_not_found")


def test_a_clients_library_sees_unimplemented(channel: grpc.Channel) -> None:
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/unknown.Service/Method")
    with pytest.raises(grpc.RpcError) as refused:
        method(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "This server has no such gRPC service."


def test_metadata_of_this_service_reaches_it_and_what_steers_ray_serve_does_not(channel: grpc.Channel) -> None:
    method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
    ours = ["authorization", "x-api-key", "x-request-id", "x-session-id", "x-tenant-id", "traceparent"]
    ours += ["request_id", "session_id"]  # what the .proto files promise
    rays = ["application", "multiplexed_model_id", "serve_multiplexed_model_id", "tracestate"]
    [answer] = method(b"x", timeout=10, metadata=tuple((key, "value") for key in [*ours, *rays, ADDRESS_HEADER]))
    metadata = json.loads(answer)["metadata"]
    assert {key: metadata[key] for key in ours} == dict.fromkeys(ours, "value")
    assert not metadata.keys() & set(rays)
    assert metadata[ADDRESS_HEADER] == "127.0.0.1"  # for HAProxy to say


def test_while_nothing_is_deployed_clients_are_told_to_try_again(alone: Front) -> None:
    assert grpc_status(alone.call(METHOD.encode())) == UNAVAILABLE


def test_ray_serves_own_answers_say_that_they_are_grpc(haproxy: Front) -> None:
    answer = haproxy.call(b"/ray.serve.RayServeAPIService/Healthz")
    assert grpc_status(answer) == 0 and b"application/grpc" in answer
