"""What Ray Serve calls before it makes the servers of a proxy, or the HTTP server of a Gateway."""

from starlette.middleware import Middleware

from serving.gateway.http.guard import HttpGuard
from serving.grpc_server import harden


def guards() -> list[Middleware]:
    """Makes gRPC servers fit for hostile clients; returns the middleware that HTTP servers need for that."""
    harden()
    return [Middleware(HttpGuard)]
