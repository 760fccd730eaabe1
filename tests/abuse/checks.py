"""What every answer must be: an error of the service's own kind, and no word of what it is made of."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

import grpc

from serving.errors import WIRE_ERRORS, Reason

_LEAK = re.compile(
    r"Traceback|File \"|\b[A-Z]\w+(Error|Exception)\b|Exception|pydantic|NoneType|<class|object at 0x|starlette"
    r"|asyncio|uvicorn|site-packages|/tmp/|\.pyx?\b|instance of|RayTask|google\.protobuf|\bray\b|haproxy"
    r"|ChatMessage|ContentPart|StreamOptions|CompletionBody|ChatBody",
    re.IGNORECASE,
)
_OWN_LIMIT = frozenset({Reason.DEADLINE_EXCEEDED})
"""Server errors that a client can ask for: it may give a request no time."""
_NEVER = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.UNAVAILABLE,
    }
)


@dataclass(frozen=True)
class HttpAnswer:
    """One response of HTTP/1."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes


class _Bytes:
    """What `HTTPResponse` wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self._file.close = lambda: None  # type: ignore[method-assign] # the next response is in it, too

    def makefile(self, mode: str) -> io.BytesIO:
        return self._file

    @property
    def is_empty(self) -> bool:
        return self._file.tell() == len(self._file.getvalue())


def http_answers(data: bytes, method: str | None = None) -> Iterator[HttpAnswer]:
    """The responses in what a server sent.

    Raises:
      HTTPException, ValueError: it is not HTTP/1, or ends too early.
    """
    source = _Bytes(data)
    while not source.is_empty:
        response = HTTPResponse(source, method=method)  # type: ignore[arg-type]
        response.begin()  # skips 100 Continue
        headers = {name.lower(): value for name, value in response.getheaders()}
        yield HttpAnswer(response.status, headers.get("content-type", ""), headers, response.read())


def http_faults(data: bytes, sent: bytes, method: str | None = None) -> list[str]:
    """What is wrong with the responses in what a server sent over HTTP/1.

    Args:
      data: what the server sent.
      sent: what the client sent before, words of which an error may repeat.
      method: of the request, where the form of an answer depends on it.
    """
    try:
        answers = list(http_answers(data, method))
    except (HTTPException, ValueError) as error:
        return [f"not HTTP/1: {error!r} in {data[:200]!r}"]
    if method == "HEAD":  # answers have no bodies
        return [f"a server error: {answer.status}" for answer in answers if answer.status >= 500]
    return [fault for answer in answers for fault in _faults_of(answer, sent)]


def _faults_of(answer: HttpAnswer, sent: bytes) -> list[str]:
    shown = f"{answer.status} {answer.content_type} {answer.body[:300]!r}"
    if answer.status < 400:
        if answer.content_type.startswith("text/event-stream"):
            return [fault for event in _events(answer.body) if "error" in event for fault in _error_faults(event, sent)]
        return []
    if answer.content_type != "application/json":
        return [f"an error that is not JSON: {shown}"]
    try:
        body = json.loads(answer.body)
    except ValueError:
        return [f"an error that is not JSON: {shown}"]
    return [f"{fault}: {shown}" for fault in _error_faults(body, sent, answer.status)]


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.splitlines():
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield json.loads(line[6:])


def _error_faults(body: Any, sent: bytes, status: int | None = None) -> list[str]:
    match body:
        case {"error": {"message": str(message), "type": str(), "param": str() | None, "code": str(code)}}:
            pass
        case _:
            return ["an error body of another shape"]
    if code not in set(Reason):
        return [f"an unknown code {code!r}"]
    reason = Reason(code)
    faults = text_faults(message, sent)
    if status is not None and status != WIRE_ERRORS[reason].http_status:
        faults.append(f"{status} with code {code}")
    if WIRE_ERRORS[reason].http_status >= 500 and reason not in _OWN_LIMIT:
        faults.append("a server error")
    return faults


def grpc_faults(code: grpc.StatusCode, message: str, sent: bytes) -> list[str]:
    """What is wrong with the status of a gRPC call that sent this."""
    faults = [f"{fault}: {code.name} {message[:300]}" for fault in text_faults(message, sent)]
    return [f"{code.name}: {message[:300]}", *faults] if code in _NEVER else faults


def text_faults(message: str, sent: bytes) -> list[str]:
    """What an error message says that it must not, and that the client did not say itself."""
    found = [leak[0] for leak in _LEAK.finditer(message) if leak[0].encode() not in sent]
    return [f"it tells of the inside: {found[0]!r}"] if found else []
