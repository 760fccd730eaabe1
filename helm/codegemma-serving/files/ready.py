"""Whether the service answers in this pod, on both its ports: the readiness probe of Gateway pods.

Usage: ready.py HTTP_PORT GRPC_PORT. Ends with 0 if so; otherwise says what is wrong and ends with 1.

A pod whose Gateway has gone, as in a rolling update, answers by another pod's for a while, and then no more: it is not
ready as soon as Ray Serve drains its HAProxy. A pod that is to end is different: it gets new connections only where no
other pod is ready, so it takes them for as long as it can.
"""

import os
import sys
import tempfile
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import grpc

_LEAVING = Path(tempfile.gettempdir()) / "leaving"
"""leave.py makes it."""
_TIMEOUT_S = 2
"""Of each of three questions: less than the probe's together."""
_GUARDS = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""What Ray Serve imports before it answers."""
_SERVING = b"\x08\x01"
"""A HealthCheckResponse that says SERVING. In bytes, for loading Protocol Buffers takes longer than to ask."""


def why_not_haproxy(port: int) -> str | None:
    """What HAProxy says of itself if it drains, or None."""
    said = why_not_http(port, "/-/healthz")
    return said if said and said.startswith("HTTP 503") and not _LEAVING.exists() else None


def why_not_http(port: int, path: str = "/health") -> str | None:
    """What is wrong with HTTP, or None."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"HTTP: {error}"
    return None


def why_not_grpc(port: int) -> str | None:
    """What is wrong with gRPC, or None."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = check(b"", timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return f"gRPC {error.code().name}: {error.details()}"
    return None if answer == _SERVING else "gRPC: not serving"


def why_never() -> str | None:
    """Why it will never answer, if the image has not the code that the chart names; asked if it does not."""
    module = os.environ.get(_GUARDS, "").rpartition(".")[0]
    try:
        is_here = not module or find_spec(module) is not None
    except ImportError:  # not even what it would be in
        is_here = False
    return None if is_here else f"the image has no {module}: it and the chart are of different versions"


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    why_not = why_not_haproxy(http_port) or why_not_http(http_port) or why_not_grpc(grpc_port)
    sys.exit(why_not and (why_never() or why_not))
