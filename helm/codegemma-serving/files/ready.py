"""Whether the service answers in this pod, on both its ports: the readiness probe of Gateway pods.

Usage: ready.py HTTP_PORT GRPC_PORT. Ends with 0 if so; otherwise says what is wrong and ends with 1.
"""

import sys
import urllib.error
import urllib.request

import grpc

_TIMEOUT_S = 3
_SERVING = b"\x08\x01"
"""A HealthCheckResponse that says SERVING. In bytes, for loading Protocol Buffers takes longer than to ask."""


def why_not_http(port: int) -> str | None:
    """What is wrong with HTTP, or None."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=_TIMEOUT_S).close()
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


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    sys.exit(why_not_http(http_port) or why_not_grpc(grpc_port))
