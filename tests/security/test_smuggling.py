"""Requests that two servers could read differently: none reaches another client, and none hides a second one.

HAProxy and uvicorn share connections: whatever is left over of one request would be the beginning of another client's.
"""

import json
import socket
from typing import Any

import pytest

from tests.haproxy.front import Answer, Front, received
from tests.raw_http2 import Header, call

_HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "
_CHUNKED = b"0\r\n\r\n" + _HIDDEN


def post(*headers: bytes, body: bytes = _CHUNKED, line: bytes = b"POST /first HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"host: 127.0.0.1", *headers, b"", body])


REFUSED = {
    "two lengths": post(b"content-length: 5", b"content-length: 60"),
    "a list of lengths": post(b"content-length: 5, 60"),
    "a negative length": post(b"content-length: -5"),
    "a length with a sign": post(b"content-length: +5"),
    "a length in hexadecimal": post(b"content-length: 0x5"),
    "a length beyond any": post(b"content-length: 99999999999999999999999"),
    "another coding": post(b"transfer-encoding: gzip"),
    "chunked and another coding": post(b"transfer-encoding: chunked, identity"),
    "chunked twice": post(b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    "a coding like chunked": post(b"transfer-encoding: xchunked"),
    "a coding in quotes": post(b'transfer-encoding: "chunked"'),
    "a coding with a null": post(b"transfer-encoding: chunked\0"),
    "a coding with a vertical tab": post(b"transfer-encoding: \x0bchunked"),
    "a space before the colon": post(b"transfer-encoding : chunked"),
    "a name with a space": post(b"content length: 5"),
    "a name with a null": post(b"content\0-length: 5"),
    "a carriage return in a value": post(b"x: a\rtransfer-encoding: chunked"),
    "a null in a value": post(b"x: a\0b"),
    "no name": post(b": a"),
    "no colon": post(b"transfer-encoding"),
    "two hosts": post(b"host: evil.example", b"content-length: 0", body=b""),
    "a host beside another one in the line": post(body=b"", line=b"GET http://evil.example/first HTTP/1.1"),
    "a size of a chunk that is none": post(b"transfer-encoding: chunked", body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a size of a chunk beyond any": post(b"transfer-encoding: chunked", body=b"ffffffffffffffffff\r\nhello"),
    "a negative size of a chunk": post(b"transfer-encoding: chunked", body=b"-1\r\nhello\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": post(b"transfer-encoding: chunked", body=b"1\r\nhello\r\n0\r\n\r\n"),
    "no version": b"GET /first\r\n\r\n",
    "a null in the path": post(line=b"POST /first\0 HTTP/1.1"),
}
"""What no server should guess at; each would be two requests to one that reads it in another way."""
READ_ONE_WAY = {
    "chunked beside a length": post(b"content-length: 60", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "a length beside chunked": post(b"transfer-encoding: chunked", b"content-length: 5", body=b"0\r\n\r\n"),
    "chunked in capitals": post(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"),
    "a length twice": post(b"content-length: 5", b"content-length: 5", body=b"hello"),
    "a name with an underscore": post(
        b"content_length: 60", b"transfer_encoding: chunked", b"content-length: 0", body=b""
    ),
    "a folded header": post(b"x: a\r\n transfer-encoding: chunked", b"content-length: 0", body=b""),
    "lines that end in a line feed": b"POST /first HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 0\n\n",
    "an upgrade to HTTP/2": post(
        b"connection: upgrade, http2-settings",
        b"upgrade: h2c",
        b"http2-settings: AAMAAABkAARAAAAA",
        body=b"",
        line=b"GET /first HTTP/1.1",
    ),
    "a connection that takes headers away": post(
        b"connection: authorization, x-forwarded-for, close", body=b"", line=b"GET /first HTTP/1.1"
    ),
    "a method that a header names": post(b"x-http-method-override: DELETE", b"content-length: 0", body=b""),
    "a path that a header names": post(
        b"x-original-url: /hidden", b"x-rewrite-url: /hidden", b"content-length: 0", body=b""
    ),
    "an extension of a chunk": post(b"transfer-encoding: chunked", body=b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n'),
    "another version": post(b"content-length: 0", body=b"", line=b"POST /first HTTP/3.7"),
    "a line with a tab": post(b"content-length: 0", body=b"", line=b"POST\t/first HTTP/1.1"),
    "trailers": post(b"transfer-encoding: chunked", body=b"0\r\ncontent-length: 60\r\nhost: evil.example\r\n\r\n"),
}
"""What may be read, as long as all read the same."""


def said(haproxy: Front, data: bytes) -> bytes:
    """All that comes back, on a connection that nothing more is sent on."""
    with socket.create_connection(("127.0.0.1", haproxy.ports.http), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return received(connection)


def arrived(answer: Answer) -> dict[str, Any]:
    """The request that an answer shows, whose body is chunked."""
    [line] = [line for line in answer.body.splitlines() if line.startswith(b"{")]
    request: dict[str, Any] = json.loads(line)
    return request


def others_are_answered(haproxy: Front) -> None:
    for number in range(3):
        answer = haproxy.ask(f"GET /other/{number}", {"x-mine": b"%d" % number})
        seen = arrived(answer)
        assert (answer.status, seen["path"], seen["headers"]["x-mine"]) == (200, f"/other/{number}", str(number))


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_reaches_no_server(short_timeouts: Front, name: str) -> None:
    answer = said(short_timeouts, REFUSED[name])
    assert b" 200 " not in answer and b"/hidden" not in answer
    others_are_answered(short_timeouts)


@pytest.mark.parametrize("name", READ_ONE_WAY)
def test_what_all_read_in_one_way_is_one_request(short_timeouts: Front, name: str) -> None:
    answer = said(short_timeouts, READ_ONE_WAY[name])
    assert answer.count(b"HTTP/1.1 ") <= 1 and b'"path": "/hidden"' not in answer
    others_are_answered(short_timeouts)


@pytest.mark.parametrize("first", [b"BREW /first HTTP/1.1", b"GET /-/routes HTTP/1.1", b"GET /first HTTP/1.1"])
def test_what_is_pipelined_behind_an_answer_is_a_request_of_its_own(short_timeouts: Front, first: bytes) -> None:
    second = b"GET /second HTTP/1.1\r\nhost: 127.0.0.1\r\nx-mine: 2\r\nconnection: close\r\n\r\n"
    answers = short_timeouts.send(post(b"x-mine: 1", body=second, line=first)).split(b"HTTP/1.1 ")[1:]
    last = Answer.of(b"HTTP/1.1 " + answers[-1])
    assert len(answers) == 2 and arrived(last)["headers"]["x-mine"] == "2"
    others_are_answered(short_timeouts)


HTTP2: dict[str, list[Header]] = {
    "a length that is not the body's": [(b"content-length", b"60")],
    "a coding, which HTTP/2 does not have": [(b"transfer-encoding", b"chunked")],
    "a line in a value": [(b"x", b"a\r\ntransfer-encoding: chunked")],
    "a line in a name": [(b"x: a\r\ntransfer-encoding", b"chunked")],
    "a pseudo-header twice": [(b":path", b"/hidden")],
    "a pseudo-header of an answer": [(b":status", b"200")],
    "a host that is not the authority": [(b"host", b"evil.example")],
    "a name in capitals": [(b"Content-Length", b"60")],
    "a connection": [(b"connection", b"upgrade"), (b"upgrade", b"h2c")],
}


def over_http2(*headers: Header, path: bytes = b"/first") -> bytes:
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"127.0.0.1")]
    return call([*pseudo, *headers], b"hello")


@pytest.mark.parametrize("name", HTTP2)
def test_headers_of_http2_do_not_become_others_of_http1(short_timeouts: Front, name: str) -> None:
    answer = short_timeouts.http2(over_http2(*HTTP2[name]), port=short_timeouts.ports.http)
    assert b'"path": "/hidden"' not in answer
    assert b"evil.example" not in answer
    others_are_answered(short_timeouts)


@pytest.mark.parametrize("path", [b"/first HTTP/1.1\r\nx: y", b"/first\r\n", b"first", b"", b"*"])
def test_a_path_of_http2_does_not_become_a_line_of_http1(short_timeouts: Front, path: bytes) -> None:
    answer = short_timeouts.http2(over_http2(path=path), port=short_timeouts.ports.http)
    assert b'"path": "/first' not in answer
    others_are_answered(short_timeouts)
