"""What HAProxy says itself, as the Gateway would say it: an API's error body, or a gRPC status without a message.

Nearly all made here and not by the Gateway's modules: a proxy must not take seconds to start.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.errors import FieldError, Reason, ServingError
from serving.gateway.http.anthropic import errors as anthropic
from serving.gateway.http.llamacpp import errors as llamacpp
from serving.gateway.http.mistral import errors as mistral
from serving.gateway.http.ollama import errors as ollama
from serving.gateway.http.openai import errors as openai
from serving.gateway.http.tabby import errors as tabby
from serving.servers.ray_headers import READ_HEADERS

_RETRY_AFTER_S = 1
MAX_HEADER_BYTES = 16 * 1024
"""Of all headers of a request together, their names included."""
MAX_HEADERS = 100

FORMS: dict[str, tuple[Sequence[str], Callable[[ServingError], object]]] = {
    "openai": (openai.PREFIXES, openai.error_body),
    "llamacpp": (llamacpp.PREFIXES, llamacpp.error_body),
    "tabby": (tabby.PREFIXES, tabby.error_body),
    "ollama": (ollama.PREFIXES, ollama.error_body),
    "mistral": (mistral.PREFIXES, mistral.error_body),
    "anthropic": (anthropic.PREFIXES, anthropic.error_body),
}
"""Beginnings of paths, and the error body that is said there; the first is that of all other paths."""

NO_GATEWAY = ServingError(Reason.UNAVAILABLE, "No gateway answers. It may be starting; try again.")
NOT_HERE = ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path.")
FAILED = ServingError(Reason.INTERNAL, "The server failed on this request; its log says more.")
BROKEN_BODY = ServingError(
    Reason.MALFORMED_BODY, "The body of the request is not valid HTTP, or ended or stopped before it was complete."
)
SLOW_BODY = ServingError(Reason.REQUEST_TIMEOUT, "The body of the request did not come in time. Send it at once.")
UNKNOWN_METHOD = ServingError(Reason.METHOD_NOT_ALLOWED, "This service takes GET, HEAD and POST.")
BAD_PATH = ServingError(
    Reason.INVALID_ARGUMENT, "The path has bytes that are not printable ASCII. Send it percent-encoded."
)
CONTROL_CHARACTER = ServingError(Reason.INVALID_ARGUMENT, "A header has a control character. Send it without.")
LARGE_HEADERS = ServingError(
    Reason.INVALID_ARGUMENT,
    f"The request has more than {MAX_HEADERS} headers, or they are more than {MAX_HEADER_BYTES // 1024} KiB, "
    "the limits here.",
)
NOT_ASCII = {
    name: FieldError(Reason.INVALID_ARGUMENT, name, "has bytes that are not printable ASCII. Send the header without.")
    for name in READ_HEADERS
}
NOT_HTTP = ServingError(Reason.INVALID_ARGUMENT, "The request is not valid HTTP.")
SLOW_ANSWER = ServingError(Reason.DEADLINE_EXCEEDED, "The answer took longer than this service allows.")
TOO_MANY = ServingError(Reason.OVERLOADED, "Too many requests are open. Try again.")
NOT_GRPC = ServingError(Reason.ROUTE_NOT_FOUND, "This port speaks gRPC, over HTTP/2. HTTP is at another port.")

_OVER_HTTP = {
    "no-gateway": NO_GATEWAY,
    "not-here": NOT_HERE,
    "failed": FAILED,
    "broken-body": BROKEN_BODY,
    "slow-body": SLOW_BODY,
    "unknown-method": UNKNOWN_METHOD,
    "bad-path": BAD_PATH,
    "control-character": CONTROL_CHARACTER,
    "large-headers": LARGE_HEADERS,
    "not-http": NOT_HTTP,
    "slow-answer": SLOW_ANSWER,
    "too-many": TOO_MANY,
    "not-grpc": NOT_GRPC,
    **{f"not-ascii-{name}": error for name, error in NOT_ASCII.items()},
}
"""All errors that `json_rule` takes, by what their files are called."""
_ERRORS = {400: BROKEN_BODY, 408: SLOW_BODY, 500: FAILED, 502: NO_GATEWAY, 503: NO_GATEWAY, 504: NO_GATEWAY}
"""By the status that HAProxy would say."""
_UNAVAILABLE_HEADER = "x-no-gateway"


def choose_form() -> list[str]:
    """The rules of a frontend that choose in which API's form a request is refused; before all other rules."""
    first, *_ = FORMS
    by_prefix = sorted(((prefix, name) for name, (prefixes, _) in FORMS.items() for prefix in prefixes), key=_length)
    chosen = [f"http-request set-var(txn.api) str({name}) if {{ path_beg {prefix} }}" for prefix, name in by_prefix]
    return [f"http-request set-var(txn.api) str({first})", *chosen]


def json_rule(error: ServingError, directory: Path) -> str:
    """The end of a rule `http-request return` or `http-response return`: an answer over HTTP.

    Args:
      error: one of this module's.
      directory: where `ERROR_FILES` are.
    """
    return f"status {error.wire.http_status} {_body_and_headers(error, directory)}"


def error_rules(directory: Path) -> list[str]:
    """The rules of a backend by which HAProxy's own errors are answered over HTTP, in our words and with our status."""
    return [
        *(
            f"http-error status {status} {_body_and_headers(error, directory)}"
            + (f" hdr {_UNAVAILABLE_HEADER} 1" if error is NO_GATEWAY else "")
            for status, error in _ERRORS.items()
        ),
        f"http-after-response set-status 503 if {{ res.hdr({_UNAVAILABLE_HEADER}) -m found }}",
        f"http-after-response del-header {_UNAVAILABLE_HEADER}",
    ]


def grpc_rule(error: ServingError) -> str:
    """The same as an answer over gRPC: trailers only, as HTTP's status says nothing to a gRPC client.

    HAProxy takes a content type with a body only; the frontend adds it.
    """
    code = error.wire.grpc_code.value[0]
    return f"status 200 hdr grpc-status {code} hdr grpc-message {_quoted(error.message)}"


def refuse(rule: str, condition: str) -> str:
    """A rule of a frontend that answers in a Gateway's place; `condition` is as `if { ... }`."""
    return f"http-request return {rule} {condition}"


def grpc_error_file(status: int) -> str:
    """The name of the file with the gRPC answer that takes the place of HAProxy's own of this status."""
    return f"grpc-{status}.http"


def _length(item: tuple[str, str]) -> int:
    prefix, _ = item
    return len(prefix)


def _body_and_headers(error: ServingError, directory: Path) -> str:
    [name] = [name for name, each in _OVER_HTTP.items() if each is error]
    body = f"%[var(txn.api),map_str({directory / _bodies_file(name)})]"
    retry = "".join(f" hdr {name} {value}" for name, value in _retry_headers(error).items())
    return f"content-type application/json lf-string {_quoted(body)}{retry}"


def _bodies_file(name: str) -> str:
    """The name of the map with the bodies of an error, by API."""
    return f"{name}.map"


def _bodies(error: ServingError) -> bytes:
    lines = (f"{api} {json.dumps(body(error), separators=(',', ':'))}\n" for api, (_, body) in FORMS.items())
    return "".join(lines).encode()


def _retry_headers(error: ServingError) -> dict[str, str]:
    """As those of `gateway/http/responses.py`."""
    if error.wire.retryable:
        return {"x-should-retry": "true", "retry-after": str(_RETRY_AFTER_S)}
    return {"x-should-retry": "false"}


def _quoted(text: str) -> str:
    """As one word of HAProxy's configuration, in which nothing is special."""
    assert "'" not in text and text.isascii() and text.isprintable(), text
    return f"'{text}'"


def _grpc_response(error: ServingError) -> bytes:
    head = ["HTTP/1.1 200 OK", "content-type: application/grpc", f"grpc-status: {error.wire.grpc_code.value[0]}"]
    return "\r\n".join([*head, f"grpc-message: {error.message}", "content-length: 0", "", ""]).encode()


ERROR_STATUSES = tuple(_ERRORS)
ERROR_FILES = {
    **{_bodies_file(name): _bodies(error) for name, error in _OVER_HTTP.items()},
    **{grpc_error_file(status): _grpc_response(error) for status, error in _ERRORS.items()},
}
"""Content of the files by name; they belong beside the configuration."""
