"""The HTTP side of the Gateway: the routes of all APIs over one `CodeService`."""

from collections.abc import Callable
from functools import cache
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from serving.config import GatewayConfig
from serving.errors import Reason, ServingError
from serving.gateway.access import LocalAccess
from serving.gateway.http.anthropic.routes import ANTHROPIC
from serving.gateway.http.api import Api, api_at
from serving.gateway.http.endpoint import Endpoint
from serving.gateway.http.json_text import compact_json
from serving.gateway.http.llamacpp.routes import LLAMACPP
from serving.gateway.http.mistral.routes import MISTRAL
from serving.gateway.http.ollama.routes import OLLAMA
from serving.gateway.http.open_response import MAX_READERS
from serving.gateway.http.openai.routes import OPENAI
from serving.gateway.http.openapi.document import document
from serving.gateway.http.openapi.pages import description_routes
from serving.gateway.http.origins import origin_middleware
from serving.gateway.http.playground.page import page_routes
from serving.gateway.http.playground.routes import PLAYGROUND
from serving.gateway.http.responses import error_response, json_response, unexpected
from serving.gateway.http.shared_path import by_path
from serving.gateway.http.tabby.routes import TABBY
from serving.gateway.http.times import TIMES, HttpTimes
from serving.gateway.http.unread_body import UnreadBody
from serving.gateway.service import CodeService
from serving.request_id import request_id_of
from serving.servers.places import Places

APIS = (OPENAI, LLAMACPP, TABBY, OLLAMA, MISTRAL, ANTHROPIC, PLAYGROUND)
"""The first is that of paths which are no API's."""


def build_http_app(
    get_service: Callable[[], CodeService],
    config: GatewayConfig,
    times: HttpTimes = TIMES,
) -> Starlette:
    """The HTTP application.

    Args:
      get_service: gives the service, once requests come.
      config: the limits of the gateway.
      times: how long to wait.
    """

    async def health(request: Request) -> Response:
        # Without a key, ids of models included: probes have none, and who runs the service has to see what is down.
        health = await get_service().health()
        if not health.ready:
            raise ServingError(
                Reason.UNAVAILABLE,
                f"No replica group answers for {', '.join(health.unavailable)}. It may be starting; try again.",
            )
        if health.unavailable:
            return json_response({"status": "degraded", "unavailable": health.unavailable})
        return json_response({"status": "ok"})

    routes = [
        Route(
            own[0].route.path,
            Endpoint(own, get_service, config.max_body_bytes, times),
            methods=[own[0].route.method],
        )
        for own in by_path(APIS)
    ]
    readers = Places(MAX_READERS)
    app = Starlette(
        routes=[
            Route("/health", health),
            *page_routes(readers),
            *description_routes(_description(APIS), readers),
            *routes,
        ],
        middleware=[
            Middleware(UnreadBody, within_s=times.unread_body_s),
            *origin_middleware(config, APIS, lambda: isinstance(get_service().access, LocalAccess)),
        ],
        exception_handlers={ServingError: _failure, HTTPException: _routing_error, Exception: _failure},
    )
    app.router.redirect_slashes = False
    return app


@cache
def _description(apis: tuple[Api, ...]) -> bytes:
    return compact_json(document(apis))


async def _failure(request: Request, error: Exception) -> Response:
    """What fails outside of an API's routes."""
    told = error if isinstance(error, ServingError) else unexpected(error, request_id_of(""))
    return error_response(api_at(request.url.path, APIS), told)


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    api = api_at(path, APIS)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        response = error_response(
            api, ServingError(Reason.METHOD_NOT_ALLOWED, f"{path} does not take {request.method}, but {allowed}.")
        )
        response.headers["allow"] = allowed
        return response
    return error_response(api, ServingError(Reason.ROUTE_NOT_FOUND, f"There is nothing at {path}."))


def _methods(request: Request) -> set[str]:
    """What the path takes: Starlette has a route for each method, and tells those of the first alone."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes if isinstance(route, Route) for method in route.methods or ()}
