"""Which web pages may call the service, and by which names.

A browser sends what any page asks it to, also to a service on the same machine. Where keys are asked for, a page has
none. Where none are, on 127.0.0.1, only `Origin` and `Host` tell a page from a program.
"""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.config import GatewayConfig
from serving.errors import Reason, ServingError
from serving.gateway.access import is_loopback
from serving.gateway.http.api import Api, api_at
from serving.gateway.http.responses import error_response

_WITHOUT_ASKING = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Content types that a page may send anywhere without a preflight (https://fetch.spec.whatwg.org, CORS-safelisted)."""
_EXPOSED = ["x-request-id", "retry-after"]
_PREFLIGHT_AGE_S = 3600


def origin_middleware(
    config: GatewayConfig, apis: Sequence[Api], is_keyless_local: Callable[[], bool]
) -> Sequence[Middleware]:
    """CORS for the origins of the configuration, on every route; a refusal of all other pages by a keyless service."""
    pages = Middleware(ForeignPages, config=config, apis=apis, is_keyless_local=is_keyless_local)
    if not config.allowed_origins:
        return [pages]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.allowed_origins,
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
        max_age=_PREFLIGHT_AGE_S,
    )
    return [cors, pages]


class ForeignPages:
    """ASGI middleware that refuses what pages of others send to a service on 127.0.0.1 without keys."""

    def __init__(
        self, app: ASGIApp, config: GatewayConfig, apis: Sequence[Api], is_keyless_local: Callable[[], bool]
    ) -> None:
        self._app = app
        self._apis = apis
        self._origins = frozenset(config.allowed_origins)
        self._hosts = frozenset(name.lower() for name in config.allowed_hosts)
        self._is_keyless_local = is_keyless_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_keyless_local() and (error := self._refusal(Headers(scope=scope))):
            await error_response(api_at(scope["path"], self._apis), error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> ServingError | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _host_name(host)
        # A page whose name was made to lead to 127.0.0.1 (DNS rebinding) is of the same origin as what it calls.
        if not is_loopback(name) and name not in self._hosts:
            return _denied(
                f"This service answers its own machine, without keys, and not by the name {_shown(host)}. Call it by "
                "127.0.0.1, or have its operator add the name to gateway.allowed_hosts."
            )
        if origin is None or "*" in self._origins:
            return None
        if origin not in self._origins and origin not in (f"http://{host}", f"https://{host}"):
            return _denied(
                f"This service answers no pages of {_shown(origin)}. Have its operator add it to "
                "gateway.allowed_origins."
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _WITHOUT_ASKING:
            return _denied(f"A page may not send {_shown(kind)} here. Send content-type: application/json.")
        return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # of brackets that do not match
        return ""


def _shown(text: str) -> str:
    return repr(text[:64])


def _denied(message: str) -> ServingError:
    return ServingError(Reason.PERMISSION_DENIED, message)
