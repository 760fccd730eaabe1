"""What Ray Serve calls before it makes the servers of a proxy, or the HTTP server of a Gateway."""

from ray.serve.context import _get_internal_replica_context
from starlette.middleware import Middleware

from serving.gateway.http.guard import HttpGuard
from serving.servers import grpc_server, http_server


def guards() -> list[Middleware]:
    """Makes servers fit for hostile clients; returns the middleware that HTTP servers need for that."""
    grpc_server.harden()
    http_server.harden()
    return [Middleware(HttpGuard, watches_clients=_get_internal_replica_context() is not None)]
