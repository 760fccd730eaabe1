"""What comes by HTTP, and what goes back."""

import re
from pathlib import Path

from serving.errors import FieldError, Reason, ServingError
from serving.haproxy.answers import ERROR_STATUSES, FAILED, NO_GATEWAY, NOT_HERE, http_error_file, json_rule, refuse
from serving.haproxy.headers import with_address, without_ray_headers
from serving.haproxy.sections import Section, one
from serving.ray_headers import READ_HEADERS
from serving.request_id import REQUEST_ID_PATTERN

MAX_HEADER_BYTES = 16 * 1024
"""Of all headers of a request together, their names included."""
MAX_HEADERS = 100
_PRINTABLE = " -~"
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE"


def harden_http(sections: dict[str, Section], directory: Path, body_s: float) -> None:
    """Only what a Gateway can read reaches one, and all errors are in its words."""
    _requests_are_checked(one(sections, "frontend http_frontend"))
    backends = [section for section in sections.values() if section.is_http]
    for section in backends:
        _answers_are_json(section, directory)
        _bodies_are_asked_for(section, body_s)
    # Ray Serve says 404 for every path while no application is there, which clients do not try again.
    nothing = one(sections, "backend default_backend")
    nothing.remove("http-request return .*")
    nothing.begin(f"http-request return {json_rule(NOT_HERE if backends else NO_GATEWAY)}")


def _requests_are_checked(section: Section) -> None:
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
    large = ServingError(
        Reason.INVALID_ARGUMENT,
        f"The request has more than {MAX_HEADERS} headers, or they are more than {MAX_HEADER_BYTES // 1024} KiB, "
        "the limits here.",
    )
    section.begin(
        refuse(json_rule(large), f"if {{ req.hdrs,length gt {MAX_HEADER_BYTES} }}"),
        refuse(json_rule(large), f"if {{ req.fhdr_cnt gt {MAX_HEADERS} }}"),
        # Others the Gateway's HTTP parser does not know, and says so in plain text.
        refuse(f"{json_rule(unknown_method)} hdr allow 'GET, HEAD, POST'", f"unless {{ method {_METHODS} }}"),
        refuse(json_rule(NOT_HERE), "unless { path_beg / }"),
        refuse(json_rule(bad_path), "unless { pathq -m reg '^[!-~]+$' }"),
        refuse(json_rule(control), rf"unless {{ req.hdrs -m reg '^[\t\r\n{_PRINTABLE}\x80-\xff]*$' }}"),
        *(
            refuse(json_rule(_not_ascii(name)), f"if {{ req.fhdr({name}) -m reg '[^{_PRINTABLE}]' }}")
            for name in READ_HEADERS
        ),
        # Ray's own pages; its health check is answered below.
        refuse(json_rule(NOT_HERE), "if { path,url_dec -m beg /-/ } !{ path -i /-/healthz }"),
        *without_ray_headers(),
        with_address(),
        # Ray Serve writes it into its log and says it again; without it Ray makes one, as the Gateway would.
        f"http-request del-header x-request-id unless {{ req.fhdr(x-request-id) -m reg '^{REQUEST_ID_PATTERN}$' }}",
        "http-request del-header upgrade",  # no WebSockets
    )


def _bodies_are_asked_for(section: Section, body_s: float) -> None:
    """HAProxy says 100 Continue itself, and no Gateway is asked to.

    HAProxy loses the body of an answer whose headers it reads together with a 100 Continue (docs/upstream.md).
    """
    section.begin(
        f"http-request wait-for-body time {round(body_s * 1000)}ms at-least 1 if {{ req.hdr(expect) -m found }}",
        "http-request del-header expect",  # what expects something else
    )


def _not_ascii(header: str) -> ServingError:
    return FieldError(
        Reason.INVALID_ARGUMENT, header, "has bytes that are not printable ASCII. Send the header without."
    )


def _answers_are_json(section: Section, directory: Path) -> None:
    """What Ray Serve and its server say in plain text in front of the Gateway, or in its place, said as it does."""
    said = {
        400: ServingError(Reason.INVALID_ARGUMENT, "The request is not valid HTTP."),
        404: NOT_HERE,
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
