"""How long HAProxy waits for what a client has begun, with limits of half a second."""

import json
import socket
import time

import grpc
import pytest

from tests.haproxy.front import Front, received
from tests.raw_http2 import DATA, HEADERS, PREFACE, SETTINGS, call, frame, grpc_headers, grpc_status

METHOD = "/codegemma.v1.CodeAssistService/Complete"
INVALID_ARGUMENT = 3


@pytest.mark.parametrize("grpc_port", [False, True])
@pytest.mark.parametrize("begun", [b"", b"GET /v1", b"GET / HTTP/1.1\r\nhost: x\r\nx: "])
def test_a_request_that_is_not_finished_ends_its_connection(
    short_timeouts: Front, begun: bytes, grpc_port: bool
) -> None:
    port = short_timeouts.ports.grpc if grpc_port else short_timeouts.ports.http
    assert short_timeouts.send(begun, port=port) == b""


def test_headers_that_trickle_end_their_connection(short_timeouts: Front) -> None:
    with socket.create_connection(("127.0.0.1", short_timeouts.ports.http), timeout=0.1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                connection.sendall(b"a")
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("still open")


_OPENED = PREFACE + frame(SETTINGS, 0, 0)


@pytest.mark.parametrize(
    "begun",
    [PREFACE[:10], PREFACE, _OPENED, _OPENED + frame(HEADERS, 0, 1), _OPENED + b"\0\0\4\1"],
    ids=["half a preface", "no settings", "no headers", "headers without an end", "half a frame"],
)
def test_http2_that_is_not_begun_ends_its_connection(short_timeouts: Front, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", short_timeouts.ports.grpc), timeout=20) as connection:
        connection.sendall(begun)
        received(connection)


@pytest.mark.parametrize("sent", [b"", frame(DATA, 0, 1, bytes(3))])
def test_a_call_without_a_whole_message_header_gets_an_error(short_timeouts: Front, sent: bytes) -> None:
    request = call(grpc_headers(METHOD.encode()), None) + sent
    assert grpc_status(short_timeouts.http2(request)) == INVALID_ARGUMENT


def test_a_body_that_stops_ends_its_connection(short_timeouts: Front) -> None:
    answer = short_timeouts.send(b"POST /whole-body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    assert b'"code":"malformed_body"' in answer


def test_an_answer_may_take_longer_than_clients_may_be_silent(short_timeouts: Front) -> None:
    answer = short_timeouts.ask("GET /parts")
    assert answer.status == 200
    assert answer.body.count(b"part") == 3 and answer.body.endswith(b"0\r\n\r\n")


def test_a_grpc_stream_may_take_longer_than_clients_may_be_silent(short_timeouts: Front) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{short_timeouts.ports.grpc}") as channel:
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        *parts, last = method(b"slow", timeout=20)
    assert parts == [b"part"] * 3
    assert json.loads(last)["method"] == METHOD
