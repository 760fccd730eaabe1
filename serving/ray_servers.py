"""What Ray Serve calls before it makes the servers of a proxy, or the HTTP server of a Gateway."""

from starlette.middleware import Middleware

from serving import grpc_server, http_server
from serving.gateway.http.guard import HttpGuard


def guards() -> list[Middleware]:
    """Makes servers fit for hostile clients; returns the middleware that HTTP servers need for that."""
    grpc_server.harden()
    http_server.harden()
    return [Middleware(HttpGuard)]
