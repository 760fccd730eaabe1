"""Ray Serve's HAProxy configuration, made fit for untrusted clients.

Every step changes text that it knows and fails where that text is another, so that a new version of Ray Serve cannot
leave the service unhardened without anybody noticing.
"""

import resource
from dataclasses import dataclass
from pathlib import Path

from serving.haproxy.answers import MAX_HEADER_BYTES, MAX_HEADERS
from serving.haproxy.grpc import harden_grpc
from serving.haproxy.http import harden_http
from serving.haproxy.sections import HardeningError, Section, one, parse

_KNOWN_ENTRIES = {"frontend prometheus", "frontend http_frontend", "frontend grpc_frontend", "listen stats"}
_CONNECTIONS = range(4096, 20_001)
"""How many HAProxy has open at once, depending on what the system allows; Ray Serve takes the first."""
_FILES_BESIDE = 1000
_DRAINS = 'string "This node is being drained."'
"""What Ray Serve has HAProxy answer to health checks when it is to go."""
_LAST_STREAMS = 10
"""Of each HTTP/2 connection to a HAProxy that is to go. With 1, gRPC clients that never try again lose calls."""
_PARSER_STATUSES = (400, 408, 413, 422, 500, 501)
"""Errors in what a client sends before it is a request: HAProxy's parser has HTML for them, or nothing."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long HAProxy waits for what a client has begun, in seconds.

    Attributes:
      header_s: for the whole of a request's headers, and for the first byte of a connection.
      body_s: for the beginning of a body that has to come before a Gateway is asked: a gRPC call's first message, and
        what an HTTP client sends after `100 Continue`.
    """

    header_s: float = 10.0
    body_s: float = 10.0


def hardened(text: str, directory: Path, limits: TimeLimits | None = None) -> str:
    """The configuration with which HAProxy can face untrusted clients.

    Args:
      text: what Ray Serve wrote.
      directory: where `ERROR_FILES` are.
      limits: others than the service's, for tests.

    Raises:
      HardeningError: the text is not what this version of Ray Serve writes.
    """
    limits = limits or TimeLimits()
    sections = parse(text)
    unknown = {name for name in sections if name.startswith(("frontend", "listen"))} - _KNOWN_ENTRIES
    if unknown:
        raise HardeningError(f"HAProxy would listen for {sorted(unknown)}, of which nothing is known here")
    _admin_socket_is_its_users(one(sections, "global"))
    one(sections, "global").replace(r"maxconn \d+", f"maxconn {max_connections()}")
    _parser_reads_more_than_is_allowed(one(sections, "global"))
    _parser_says_nothing(one(sections, "defaults"))
    _headers_have_a_time_limit(one(sections, "defaults"), limits.header_s)
    _metrics_listen_where_the_service_does(
        one(sections, "frontend prometheus"), one(sections, "frontend http_frontend")
    )
    del sections[one(sections, "listen stats").name]  # a page for people, which the metrics say better: one port less
    if any(_DRAINS in line for line in one(sections, "frontend http_frontend").lines):
        _clients_connect_elsewhere(one(sections, "global"), one(sections, "frontend http_frontend"))
    harden_http(sections, directory, limits.body_s)
    if "frontend grpc_frontend" in sections:
        harden_grpc(sections, directory, limits.body_s)
    return "".join(f"{line}\n" for section in sections.values() for line in (section.name, *section.lines))


def max_connections() -> int:
    """How many connections HAProxy may have open: those that are idle must leave others a place.

    HAProxy does not start if it cannot have two files for each, and a half for the pipes of splicing, which it reckons
    with though it is off.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS[-1]
    return max(_CONNECTIONS[0], min(_CONNECTIONS[-1], (files - _FILES_BESIDE) * 2 // 5))


def _admin_socket_is_its_users(section: Section) -> None:
    section.replace(r"stats socket (\S+) mode 666 level admin(.*)", r"stats socket \1 mode 600 level admin\2")


def _clients_connect_elsewhere(section: Section, frontend: Section) -> None:
    """Who keeps a connection to a HAProxy that is to go is told to make another, which gets to another HAProxy.

    Ray Serve kills a proxy that it drains as soon as no request is open; whoever had sent one just then would lose it.
    """
    section.begin(f"tune.h2.fe.max-total-streams {_LAST_STREAMS}")  # then GOAWAY
    frontend.begin("http-after-response set-header connection close")


def _parser_reads_more_than_is_allowed(section: Section) -> None:
    """A rule can answer what the parser has read; what is beyond the buffer ends without a word."""
    section.replace(r"tune\.bufsize \d+", f"tune.bufsize {2 * MAX_HEADER_BYTES}")
    section.begin(f"tune.http.maxhdr {4 * MAX_HEADERS}")


def _parser_says_nothing(section: Section) -> None:
    section.remove("errorfile .*")  # backends have ours
    # What is not HTTP gets no answer: HAProxy's parser takes from an error file only that it is empty.
    section.begin(*(f"errorfile {status} /dev/null" for status in _PARSER_STATUSES))


def _headers_have_a_time_limit(section: Section, header_s: float) -> None:
    section.begin(
        f"timeout http-request {round(header_s * 1000)}ms",
        "option http-ignore-probes",  # who sends nothing gets nothing: clients open connections ahead of requests
    )


def _metrics_listen_where_the_service_does(section: Section, frontend: Section) -> None:
    host = frontend.replace(r"bind (\S+):\d+", r"\g<0>")[1]
    section.replace(r"bind :(\d+)", rf"bind {host}:\1")
