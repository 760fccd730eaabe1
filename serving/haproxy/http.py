"""What comes by HTTP, and what goes back."""

import re
from pathlib import Path

from serving.haproxy.answers import (
    BAD_PATH,
    CONTROL_CHARACTER,
    FAILED,
    LARGE_HEADERS,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    NO_GATEWAY,
    NOT_ASCII,
    NOT_HERE,
    NOT_HTTP,
    SLOW_ANSWER,
    TOO_MANY,
    UNKNOWN_METHOD,
    choose_form,
    error_rules,
    json_rule,
    refuse,
)
from serving.haproxy.headers import with_address, without_bad_ids, without_ray_headers
from serving.haproxy.sections import Section, one

_PRINTABLE = " -~"
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE"
_SAID_BEHIND = {400: NOT_HTTP, 404: NOT_HERE, 408: SLOW_ANSWER, 429: TOO_MANY, 503: NO_GATEWAY}
"""What a status means that Ray Serve or its server says in plain text."""


def harden_http(sections: dict[str, Section], directory: Path, body_s: float) -> None:
    """Only what a Gateway can read reaches one, and all errors are in its words."""
    _requests_are_checked(one(sections, "frontend http_frontend"), directory)
    backends = [section for section in sections.values() if section.is_http]
    for section in backends:
        _answers_are_json(section, directory)
        _bodies_are_asked_for(section, body_s)
    # Ray Serve says 404 for every path while no application is there, which clients do not try again.
    nothing = one(sections, "backend default_backend")
    nothing.remove("http-request return .*")
    nothing.begin(f"http-request return {json_rule(NOT_HERE if backends else NO_GATEWAY, directory)}")


def _requests_are_checked(section: Section, directory: Path) -> None:
    section.lines = [
        re.sub(
            r'http-request return status 503 content-type text/plain string "[^"]*"',
            lambda _: f"http-request return {json_rule(NO_GATEWAY, directory)}",
            line,
        )
        for line in section.lines
    ]
    section.begin(
        *choose_form(),
        *without_bad_ids(),  # Ray Serve writes it into its log
        refuse(json_rule(LARGE_HEADERS, directory), f"if {{ req.hdrs,length gt {MAX_HEADER_BYTES} }}"),
        refuse(json_rule(LARGE_HEADERS, directory), f"if {{ req.fhdr_cnt gt {MAX_HEADERS} }}"),
        # Others the Gateway's HTTP parser does not know, and says so in plain text.
        refuse(
            f"{json_rule(UNKNOWN_METHOD, directory)} hdr allow 'GET, HEAD, POST'", f"unless {{ method {_METHODS} }}"
        ),
        refuse(json_rule(NOT_HERE, directory), "unless { path_beg / }"),
        refuse(json_rule(BAD_PATH, directory), "unless { pathq -m reg '^[!-~]+$' }"),
        refuse(
            json_rule(CONTROL_CHARACTER, directory),
            rf"unless {{ req.hdrs -m reg '^[\t\r\n{_PRINTABLE}\x80-\xff]*$' }}",
        ),
        *(
            refuse(json_rule(error, directory), f"if {{ req.fhdr({name}) -m reg '[^{_PRINTABLE}]' }}")
            for name, error in NOT_ASCII.items()
        ),
        # Ray's own pages; its health check is answered below.
        refuse(json_rule(NOT_HERE, directory), "if { path,url_dec -m beg /-/ } !{ path -i /-/healthz }"),
        *without_ray_headers(),
        with_address(),
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


def _answers_are_json(section: Section, directory: Path) -> None:
    """What Ray Serve and its server say in plain text in front of the Gateway, or in its place, said as it does."""
    section.begin(
        *error_rules(directory),
        "acl is_error status ge 400",
        "acl is_json res.hdr(content-type) -m beg application/json",
        *(
            f"http-response return {json_rule(error, directory)} if {{ status {status} }} !is_json"
            for status, error in _SAID_BEHIND.items()
        ),
        f"http-response return {json_rule(FAILED, directory)} if is_error !is_json",
    )
