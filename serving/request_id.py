"""The id of a request: what its client may call it, in log lines, traces and answers."""

import re
from secrets import token_hex

REQUEST_ID_HEADER = "x-request-id"
"""Carries the id, to the server and back: a header of HTTP and metadata of gRPC."""

REQUEST_ID_PATTERN = r"[A-Za-z0-9._~:/+@-]{1,128}"
"""What an id may be: one word of a log line, in which nothing ends a field, begins one or colours a terminal."""

_REQUEST_ID = re.compile(REQUEST_ID_PATTERN)


def is_request_id(named: str) -> bool:
    """Whether a client may call a request so."""
    return _REQUEST_ID.fullmatch(named) is not None


def request_id_of(named: str) -> str:
    """What its client calls a request if it may, or else an id made for it."""
    return named if is_request_id(named) else token_hex(16)
