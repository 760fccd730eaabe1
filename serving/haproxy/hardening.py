"""Ray Serve's HAProxy configuration, made fit for strangers.

Format: https://docs.haproxy.org/2.8/configuration.html. Every step changes text that it knows and fails where that text
is another, so that a new version of Ray Serve cannot leave the service unhardened without anybody noticing.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from serving.errors import Reason, ServingError
from serving.grpc_services import GRPC_SERVICES
from serving.haproxy.answers import (
    ERROR_STATUSES,
    FAILED,
    NO_GATEWAY,
    grpc_error_file,
    grpc_rule,
    http_error_file,
    json_rule,
)
from serving.request_id import REQUEST_ID_PATTERN

_KNOWN_ENTRIES = {"frontend prometheus", "frontend http_frontend", "frontend grpc_frontend", "listen stats"}
_HEALTH = "ray.serve.RayServeAPIService/Healthz"
"""Answered by HAProxy itself."""
_PARSER_STATUSES = (400, 408, 413, 422, 500, 501)
"""Errors in what a client sends before it is a request: HAProxy's parser has HTML for them, or nothing."""
_PRINTABLE = " -~"
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE"

RAY_HEADERS = (
    "^(serve[-_])?multiplexed[-_]model[-_]id$",
    "^x-request-timeout-seconds$",
    "^x-request-disconnect-disabled$",
    "^x-serve-router-",
    "^x(_session[-_]|-session_)id$",  # other spellings of x-session-id that Ray takes and we do not
    "^tracestate$",
)
"""Headers, as regular expressions, by which Ray Serve would be told what to do: none comes from outside."""

READ_HEADERS = ("x-request-id", "x-session-id", "x-tenant-id", "traceparent")
"""Headers that are read as text before the caller is known."""


class HardeningError(Exception):
    """The configuration is not what it is known to be."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long HAProxy waits for what a client has begun, in seconds.

    Attributes:
      header_s: for the whole of a request's headers, and for the first byte of a connection.
      message_s: for the beginning of a gRPC call's first message.
    """

    header_s: float = 10.0
    message_s: float = 10.0


@dataclass(slots=True)
class _Section:
    """One section of the configuration: its first line, and those below it."""

    name: str
    lines: list[str]

    def replace(self, pattern: str, replacement: str) -> re.Match[str]:
        """Replaces the one line that matches; answers the match."""
        found = [(at, match) for at, line in enumerate(self.lines) if (match := re.fullmatch(pattern, line.strip()))]
        if len(found) != 1:
            raise HardeningError(f"section {self.name!r} has {len(found)} lines like {pattern!r}, not one")
        [(at, match)] = found
        self.lines[at] = f"    {match.expand(replacement)}"
        return match

    def remove(self, pattern: str) -> None:
        """Removes all lines that match, of which there has to be one."""
        kept = [line for line in self.lines if not re.fullmatch(pattern, line.strip())]
        if len(kept) == len(self.lines):
            raise HardeningError(f"section {self.name!r} has no line like {pattern!r}")
        self.lines = kept

    def begin(self, *lines: str) -> None:
        """Puts lines before all others: HAProxy takes rules in their order."""
        self.lines[:0] = [f"    {line}" for line in lines]


def hardened(text: str, directory: Path, limits: TimeLimits | None = None) -> str:
    """The configuration with which HAProxy can be shown to strangers.

    Args:
      text: what Ray Serve wrote.
      directory: where `ERROR_FILES` are.
      limits: others than the service's, for tests.

    Raises:
      HardeningError: the text is not what this version of Ray Serve writes.
    """
    limits = limits or TimeLimits()
    sections = _parse(text)
    unknown = {name for name in sections if name.startswith(("frontend", "listen"))} - _KNOWN_ENTRIES
    if unknown:
        raise HardeningError(f"HAProxy would listen for {sorted(unknown)}, of which nothing is known here")
    _admin_socket_is_its_users(_one(sections, "global"))
    _parser_says_nothing(_one(sections, "defaults"))
    _headers_have_a_time_limit(_one(sections, "defaults"), limits)
    _metrics_listen_where_the_service_does(
        _one(sections, "frontend prometheus"), _one(sections, "frontend http_frontend")
    )
    _one(sections, "listen stats")
    del sections["listen stats"]  # a page for people, which the metrics say better: one port less
    _http_is_checked(_one(sections, "frontend http_frontend"))
    _http_says_when_nothing_is_there(sections)
    for section in sections.values():
        if section.name.startswith("backend") and _servers(section) and not _is_grpc(section):
            _answers_are_json(section, directory)
    if "frontend grpc_frontend" in sections:
        _grpc_is_checked(sections["frontend grpc_frontend"])
        _grpc_says_when_nothing_is_there(sections)
        for section in filter(_is_grpc, sections.values()):
            _grpc_reaches_gateways_with_a_message(section, directory, limits)
    return "".join(f"{line}\n" for section in sections.values() for line in (section.name, *section.lines))


def _parse(text: str) -> dict[str, _Section]:
    sections: dict[str, _Section] = {}
    section = None
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            name = " ".join(line.split())
            if name in sections:
                raise HardeningError(f"there are two sections {name!r}; was it hardened before?")
            section = sections[name] = _Section(name, [])
        elif section is not None:
            section.lines.append(line)
        elif line.strip():
            raise HardeningError(f"{line!r} belongs to no section")
    return sections


def _one(sections: dict[str, _Section], name: str) -> _Section:
    if name not in sections:
        raise HardeningError(f"there is no section {name!r}")
    return sections[name]


def _servers(section: _Section) -> list[str]:
    return [line for line in section.lines if line.split()[:1] == ["server"]]


def _is_grpc(section: _Section) -> bool:
    return section.name.startswith("backend") and any(" proto h2" in line for line in _servers(section))


def _admin_socket_is_its_users(section: _Section) -> None:
    section.replace(r"stats socket (\S+) mode 666 level admin(.*)", r"stats socket \1 mode 600 level admin\2")


def _parser_says_nothing(section: _Section) -> None:
    section.remove("errorfile .*")  # backends have ours
    # What is not HTTP gets no answer: HAProxy's parser takes from an error file only that it is empty.
    section.begin(*(f"errorfile {status} /dev/null" for status in _PARSER_STATUSES))


def _headers_have_a_time_limit(section: _Section, limits: TimeLimits) -> None:
    section.begin(
        f"timeout http-request {_ms(limits.header_s)}",
        "option http-ignore-probes",  # who sends nothing gets nothing: clients open connections ahead of requests
    )


def _metrics_listen_where_the_service_does(section: _Section, frontend: _Section) -> None:
    host = frontend.replace(r"bind (\S+):\d+", r"\g<0>")[1]
    section.replace(r"bind :(\d+)", rf"bind {host}:\1")


def _http_is_checked(section: _Section) -> None:
    section.lines = [
        re.sub(
            r'http-request return status 503 content-type text/plain string "[^"]*"',
            lambda _: f"http-request return {json_rule(NO_GATEWAY)}",
            line,
        )
        for line in section.lines
    ]
    unknown_method = ServingError(Reason.METHOD_NOT_ALLOWED, "This service takes GET, HEAD and POST.")
    bad_path = ServingError(
        Reason.INVALID_ARGUMENT, "The path has bytes that are not printable ASCII. Send it percent-encoded."
    )
    control = ServingError(Reason.INVALID_ARGUMENT, "A header has a control character. Send it without.")
    nothing = ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path.")
    section.begin(
        # Others the Gateway's HTTP parser does not know, and says so in plain text.
        _return(f"{json_rule(unknown_method)} hdr allow 'GET, HEAD, POST'", f"unless {{ method {_METHODS} }}"),
        _return(json_rule(nothing), "unless { path_beg / }"),
        _return(json_rule(bad_path), "unless { pathq -m reg '^[!-~]+$' }"),
        _return(json_rule(control), rf"unless {{ req.hdrs -m reg '^[\t\r\n{_PRINTABLE}\x80-\xff]*$' }}"),
        *(
            _return(json_rule(_not_ascii(name)), f"if {{ req.fhdr({name}) -m reg '[^{_PRINTABLE}]' }}")
            for name in READ_HEADERS
        ),
        # Ray's own pages; its health check is answered below.
        _return(json_rule(nothing), "if { path,url_dec -m beg /-/ } !{ path -i /-/healthz }"),
        *_without_ray_headers(),
        # Ray Serve writes it into its log and says it again; without it Ray makes one, as the Gateway would.
        f"http-request del-header x-request-id unless {{ req.fhdr(x-request-id) -m reg '^{REQUEST_ID_PATTERN}$' }}",
        "http-request del-header upgrade",  # no WebSockets
    )


def _not_ascii(header: str) -> ServingError:
    return ServingError(
        Reason.INVALID_ARGUMENT, f"The header {header} has bytes that are not printable ASCII.", field=header
    )


def _answers_are_json(section: _Section, directory: Path) -> None:
    """What Ray Serve and its server say in plain text in front of the Gateway, or in its place, said as it does."""
    said = {
        400: ServingError(Reason.INVALID_ARGUMENT, "The request is not valid HTTP."),
        404: ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path."),
        408: ServingError(Reason.DEADLINE_EXCEEDED, "The answer took longer than this service allows."),
        429: ServingError(Reason.OVERLOADED, "Too many requests are open. Try again."),
        503: NO_GATEWAY,
    }
    section.begin(
        *(f"errorfile {status} {directory / http_error_file(status)}" for status in ERROR_STATUSES),
        "acl is_error status ge 400",
        "acl is_json res.hdr(content-type) -m beg application/json",
        *(
            f"http-response return {json_rule(error)} if {{ status {status} }} !is_json"
            for status, error in said.items()
        ),
        f"http-response return {json_rule(FAILED)} if is_error !is_json",
    )


def _http_says_when_nothing_is_there(sections: dict[str, _Section]) -> None:
    """Ray Serve says 404 for every path while no application is there, which clients do not try again."""
    deployed = any(_servers(section) and not _is_grpc(section) for section in sections.values())
    nothing = ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path.")
    rule = json_rule(nothing if deployed else NO_GATEWAY)
    section = _one(sections, "backend default_backend")
    section.remove("http-request return .*")
    section.begin(f"http-request return {rule}")


def _grpc_is_checked(section: _Section) -> None:
    # Without `proto h2` HTTP/1 gets an answer, too.
    section.replace(r"bind (\S+:\d+) proto h2", r"bind \1")
    not_grpc = ServingError(Reason.ROUTE_NOT_FOUND, "This port speaks gRPC, over HTTP/2. HTTP is at another port.")
    bad_metadata = ServingError(
        Reason.INVALID_ARGUMENT, "Metadata has bytes that are not printable ASCII. Send such bytes under a key in -bin."
    )
    unknown = ServingError(Reason.ROUTE_NOT_FOUND, "This server has no such gRPC service.")
    services = "|".join(map(re.escape, GRPC_SERVICES))
    section.begin(
        # HAProxy leaves it out of Ray Serve's answers and ours, and not every client takes one without.
        "http-after-response set-header content-type application/grpc unless { res.hdr(content-type) -m found }",
        _return(
            json_rule(not_grpc),
            "unless { method POST } { req.ver 2.0 } { req.hdr(content-type) -m beg application/grpc }",
        ),
        _return(
            grpc_rule(unknown), f"unless {{ pathq -m reg '^/(({services})/[A-Za-z0-9_]+|{re.escape(_HEALTH)})$' }}"
        ),
        _return(grpc_rule(bad_metadata), rf"unless {{ req.hdrs -m reg '^[\r\n{_PRINTABLE}]*$' }}"),
        *_without_ray_headers(),
    )


def _grpc_says_when_nothing_is_there(sections: dict[str, _Section]) -> None:
    """Ray Serve says NOT_FOUND while no application is there, which clients do not try again."""
    applications = [
        each for each in sections.values() if _is_grpc(each) and each.name != "backend grpc_fallback_backend"
    ]
    if not applications:
        section = _one(sections, "backend default_grpc_backend")
        section.remove("http-request return .*")
        section.begin(f"http-request return {grpc_rule(NO_GATEWAY)}")


def _grpc_reaches_gateways_with_a_message(section: _Section, directory: Path, limits: TimeLimits) -> None:
    section.begin(
        *(f"errorfile {status} {directory / grpc_error_file(status)}" for status in ERROR_STATUSES),
        f"http-request wait-for-body time {_ms(limits.message_s)} at-least 5",  # a message's own header
        "http-request del-header application",  # it has chosen this backend, or is wrong: there is one application
    )


def _without_ray_headers() -> list[str]:
    return [f"http-request del-header '{name}' -m reg" for name in RAY_HEADERS]


def _return(rule: str, condition: str) -> str:
    return f"http-request return {rule} {condition}"


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
