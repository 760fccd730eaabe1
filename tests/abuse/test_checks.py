"""What the suite takes for a fault, and what not."""

import json

import grpc
import pytest

from tests.abuse.checks import grpc_faults, http_faults, text_faults
from tests.abuse.grpc_messages import varint
from tests.abuse.http2 import call
from tests.abuse.http2_attack import END_STREAM, FrameType, answers, frame, headers_frames
from tests.abuse.suite import KINDS, attack_of, counted

_ERROR = {
    "error": {"message": "n is 0. Send 1.", "type": "invalid_request_error", "param": "n", "code": "invalid_argument"}
}


def _answer(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        content_type.encode(),
        len(body),
        body,
    )


def _error(status: int, **fields: object) -> bytes:
    return _answer(status, json.dumps({"error": _ERROR["error"] | fields}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _answer(200, b"{}"),
        _error(400),
        _error(400, param=None) * 3,
        _error(504, code="deadline_exceeded"),
        _error(400, message='prompt is "Traceback": a string is due.'),  # the client's own words
        b"HTTP/1.1 100 Continue\r\n\r\n" + _error(400),
    ],
)
def test_good_answers_over_http(data: bytes) -> None:
    assert http_faults(data, b"prompt: Traceback") == []


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        _answer(400, b"<html></html>", "text/html"),
        _answer(400, b"Bad Request", "text/plain; charset=utf-8"),
        _answer(400, b"Bad Request"),
        _answer(400, b'{"detail": "Not Found"}'),
        _error(500, code="internal"),
        _error(503, code="unavailable"),
        _error(404),  # another status than that of its code
        _error(400, code="weird"),
        _error(400, message="Traceback (most recent call last)"),
        _error(400, message="ValueError in it."),
        _error(400, message="input should be an instance of ContentPart."),
        _error(400)[:-5],
        _error(400) + _answer(500, b"Internal Server Error", "text/plain"),
    ],
)
def test_bad_answers_over_http(data: bytes) -> None:
    assert http_faults(data, b"")


def test_an_answer_to_head_has_no_body() -> None:
    assert http_faults(_answer(404, b"").replace(b"length: 0", b"length: 90"), b"", "HEAD") == []
    assert http_faults(_answer(500, b""), b"", "HEAD")


def test_a_failed_stream_is_told_by_an_event() -> None:
    event = b"data: %b\n\n" % json.dumps(_ERROR).encode()
    assert http_faults(_answer(200, event, "text/event-stream"), b"") == []
    internal = event.replace(b"invalid_argument", b"internal")
    assert http_faults(_answer(200, internal, "text/event-stream"), b"")


def test_statuses_of_grpc() -> None:
    assert grpc_faults(grpc.StatusCode.INVALID_ARGUMENT, "n is 0. Send 1.", b"") == []
    for code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE):
        assert grpc_faults(code, "", b"")
    assert grpc_faults(grpc.StatusCode.INVALID_ARGUMENT, "google.protobuf.message.DecodeError", b"")


def test_a_value_of_the_client_is_no_leak() -> None:
    assert text_faults('model is "a.py": there is no such model.', b'{"model": "a.py"}') == []
    assert text_faults("found in a.py.", b"{}")


def test_frames_are_read_as_they_were_written() -> None:
    data = frame(FrameType.SETTINGS, 0, 0) + headers_frames(1, call()) + frame(FrameType.DATA, END_STREAM, 1, b"abc")
    stream = answers(data)[1]
    assert stream.headers["content-type"] == "application/grpc"
    assert (stream.data, stream.ended) == (b"abc", True)
    long = headers_frames(3, call(b"/", (b"x", b"a" * 300)))
    assert answers(long)[3].headers["x"] == "a" * 300


@pytest.mark.parametrize(("value", "data"), [(0, b"\0"), (127, b"\x7f"), (300, b"\xac\2")])
def test_numbers_of_protobuf(value: int, data: bytes) -> None:
    assert varint(value) == data


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_is_the_same_for_the_same_seed(kind: str) -> None:
    differ = 0
    for index in range(10):
        attack = attack_of(kind, 1, index, 2000)
        assert attack == attack_of(kind, 1, index, 2000)
        differ += attack != attack_of(kind, 2, index, 2000)
    assert differ > 5


def test_every_kind_has_its_share() -> None:
    counts = counted(25_000)
    assert sum(counts.values()) == pytest.approx(25_000, abs=len(KINDS))
    assert all(counted(10).values())
