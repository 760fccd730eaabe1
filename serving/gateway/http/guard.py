"""HttpGuard: what HAProxy does with headers, for requests that come past it.

Ray Serve has Gateways and its own proxies listen for HTTP behind HAProxy, on every interface if the service does, and
reads headers before our application sees a request.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import FieldError, Reason, ServingError
from serving.gateway.http.api import api_at
from serving.gateway.http.app import APIS
from serving.gateway.http.responses import error_response
from serving.request_id import REQUEST_ID_HEADER, is_request_id
from serving.servers.ray_headers import RAY_HEADERS, READ_HEADERS

_RAYS = re.compile("|".join(RAY_HEADERS).encode())
_READ = frozenset(name.encode() for name in READ_HEADERS)
_NOT_WATCHED = (b"x-request-disconnect-disabled", b"?1")
"""Tells Ray Serve not to wait for the end of a connection: two tasks and a queue less for each request."""
_NOT_PRINTABLE = re.compile(rb"[^ -~]")


class HttpGuard:
    """ASGI middleware around all of Ray Serve's."""

    def __init__(self, app: ASGIApp, watches_clients: bool = False) -> None:
        """`watches_clients`: the application notices itself when a client goes away; Ray Serve need not."""
        self._app = app
        self._added = [_NOT_WATCHED] if watches_clients else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] == "http":
            if error := _error_of(scope):
                await error_response(api_at(scope["path"], APIS), error)(scope, receive, send)
                return
            scope["headers"] = [*(each for each in scope["headers"] if not _is_dropped(*each)), *self._added]
        await self._app(scope, receive, send)


def _error_of(scope: Scope) -> ServingError | None:
    if not scope["path"].startswith("/"):  # Ray Serve takes only these for our application's
        return ServingError(Reason.ROUTE_NOT_FOUND, "There is nothing at this path.")
    for name, value in scope["headers"]:
        if name in _READ and _NOT_PRINTABLE.search(value):
            header = name.decode()
            return FieldError(
                Reason.INVALID_ARGUMENT, header, "has bytes that are not printable ASCII. Send the header without."
            )
    return None


def _is_dropped(name: bytes, value: bytes) -> bool:
    """Whether Ray Serve would obey a header, or log and repeat a request id that is not allowed."""
    return bool(_RAYS.search(name)) or (
        name == REQUEST_ID_HEADER.encode() and not is_request_id(value.decode("latin-1"))
    )
