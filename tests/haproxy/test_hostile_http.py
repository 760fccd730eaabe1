"""What HAProxy lets through to a Gateway over HTTP, and what it says to everything else."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.serve._private.constants import (
    SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
    SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
    SERVE_INGRESS_ROUTER_HEADER_PREFIX,
    SERVE_MULTIPLEXED_MODEL_ID,
)

from serving.servers.ray_headers import ADDRESS_HEADER, RAY_HEADERS, READ_HEADERS
from tests.haproxy.front import Answer, Front
from tests.raw_http2 import call


def arrived(answer: Answer) -> dict[str, str]:
    """The headers of a request, as the server behind HAProxy saw them."""
    assert answer.status == 200
    [body] = [line for line in answer.body.splitlines() if line.startswith(b"{")]
    headers: dict[str, str] = json.loads(body)["headers"]
    return headers


@pytest.mark.parametrize(
    "headers", [{"x-large": b"a" * 17_000}, {f"x-{index}": b"1" for index in range(120)}], ids=["large", "many"]
)
def test_headers_beyond_the_limits_are_refused_in_our_words(haproxy: Front, headers: dict[str, bytes]) -> None:
    answer = haproxy.ask("GET /v1/models", headers)
    assert (answer.status, answer.error["code"]) == (400, "invalid_argument")
    assert "100 headers" in answer.error["message"]
    assert arrived(haproxy.ask("GET /v1/models", {"x-large": b"a" * 15_000}))["x-large"]


@pytest.mark.parametrize("header", READ_HEADERS)
def test_a_header_that_is_read_as_text_and_is_none_is_named(haproxy: Front, header: str) -> None:
    answer = haproxy.ask("POST /v1/completions", {header: b"a\xff"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_argument", header)


@pytest.mark.parametrize("byte", [1, 8, 11, 31, 127])
def test_a_control_character_in_any_header_is_refused(haproxy: Front, byte: int) -> None:
    answer = haproxy.ask("GET /v1/models", {"x-anything": b"a%cb" % byte})
    assert (answer.status, answer.error["code"]) == (400, "invalid_argument")


def test_bytes_in_headers_that_nobody_reads_pass(haproxy: Front) -> None:
    assert arrived(haproxy.ask("GET /v1/models", {"user-agent": b"J\xc3\xbcrgen"}))["user-agent"]


def test_where_a_request_comes_from_is_for_haproxy_to_say(haproxy: Front) -> None:
    for headers in ({}, {ADDRESS_HEADER: b"10.0.0.7"}):
        assert arrived(haproxy.ask("GET /v1/models", headers))[ADDRESS_HEADER] == "127.0.0.1"


@pytest.mark.parametrize(
    "header",
    [
        "serve_multiplexed_model_id",
        "serve-multiplexed-model-id",
        "Serve_Multiplexed-Model_Id",
        "multiplexed_model_id",
        "x-request-timeout-seconds",
        "X-Request-Disconnect-Disabled",
        "x-serve-router-target",
        "x_session_id",
        "x-session_id",
        "x_session-id",
        "tracestate",
        "upgrade",
    ],
)
def test_what_would_steer_ray_serve_does_not_reach_it(haproxy: Front, header: str) -> None:
    headers = arrived(haproxy.ask("GET /v1/models", {header: b"0.05\xff", "x-kept": b"1"}))
    assert headers == {"host": "127.0.0.1", "x-kept": "1", ADDRESS_HEADER: "127.0.0.1"}


def test_headers_of_this_service_reach_it(haproxy: Front) -> None:
    sent = ["authorization", "x-api-key", "x-request-id", "x-session-id", "x-tenant-id", "traceparent"]
    headers = arrived(haproxy.ask("GET /v1/models", dict.fromkeys(sent, b"value")))
    assert {name: headers[name] for name in sent} == dict.fromkeys(sent, "value")


@pytest.mark.parametrize("named", [b"a status=200", b"a" * 129, b'"', b"a\xff"])
def test_a_request_id_that_is_no_word_of_a_log_line_does_not_reach_ray_serve(haproxy: Front, named: bytes) -> None:
    assert "x-request-id" not in arrived(haproxy.ask("GET /v1/models", {"x-request-id": named}))


@pytest.mark.parametrize(
    ("request_line", "status", "code"),
    [
        ("BREW /v1/models", 405, "method_not_allowed"),
        ("get /v1/models", 405, "method_not_allowed"),
        ("OPTIONS *", 404, "route_not_found"),
        ("GET /-/routes", 404, "route_not_found"),
        ("GET /-/Routes", 404, "route_not_found"),
        ("GET /%2d/routes", 404, "route_not_found"),
        ("GET /-%2Fhealthz", 404, "route_not_found"),
        ("GET /%2D/healthz", 404, "route_not_found"),
    ],
)
def test_a_request_for_which_there_is_no_answer_in_json_behind_is_answered_in_front(
    haproxy: Front, request_line: str, status: int, code: str
) -> None:
    answer = haproxy.ask(request_line)
    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (400, 400, "invalid_argument"),
        (404, 404, "route_not_found"),
        (408, 504, "deadline_exceeded"),
        (418, 500, "internal"),
        (429, 429, "overloaded"),
        (500, 500, "internal"),
        (503, 503, "unavailable"),
    ],
)
def test_an_error_in_plain_text_becomes_json(haproxy: Front, said: int, status: int, code: str) -> None:
    answer = haproxy.ask(f"GET /said/{said}")
    assert (answer.status, answer.error["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status in (429, 503))


@pytest.mark.parametrize(
    "garbage",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 40_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        bytes.fromhex("16030100a5010000a1"),
    ],
)
def test_what_is_not_http_gets_no_page_but_the_end_of_its_connection(haproxy: Front, garbage: bytes) -> None:
    assert haproxy.send(garbage) == b""


def test_a_path_over_http2_that_is_not_ascii_is_refused(haproxy: Front) -> None:
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/v1/\xff"), (b":authority", b"here")]
    answer = haproxy.http2(call(pseudo, b""), port=haproxy.ports.http)
    assert b"printable ASCII. Send it percent-encoded" in answer


def test_a_health_check_says_what_probes_look_for(haproxy: Front) -> None:
    answer = haproxy.ask("GET /-/healthz")
    assert (answer.status, answer.body) == (200, b"success")


def test_while_nothing_is_deployed_clients_are_told_to_try_again(alone: Front) -> None:
    answer = alone.ask("POST /v1/completions")
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_what_ray_serve_reads_of_headers_is_known() -> None:
    rays = [
        SERVE_MULTIPLEXED_MODEL_ID,
        SERVE_MULTIPLEXED_MODEL_ID.replace("_", "-"),
        SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
        SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
        f"{SERVE_INGRESS_ROUTER_HEADER_PREFIX}target",
    ]
    assert [name for name in rays if not any(re.search(each, name) for each in RAY_HEADERS)] == []


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"BREW"]) | st.binary(max_size=8),
    path=st.sampled_from([b"/v1/models", b"/-/healthz", b"*"]) | st.binary(max_size=40).map(lambda rest: b"/" + rest),
    headers=st.dictionaries(st.sampled_from(READ_HEADERS) | TOKEN, st.binary(max_size=60), max_size=4),
)
def test_whatever_is_sent_the_answer_is_json_or_none(
    short_timeouts: Front, method: bytes, path: bytes, headers: dict[str, bytes]
) -> None:
    lines = [b"%b: %b" % (name.encode(), value) for name, value in headers.items()]
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), b"host: here", *lines, b"connection: close", b"", b""])
    answer = short_timeouts.send(head)
    assert answer == b"" or path == b"/-/healthz" or b"content-type: application/json" in answer.lower()
    assert b"<html" not in answer
