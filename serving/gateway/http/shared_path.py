"""SharedPath: routes of several APIs at one path, where the body of a request tells whose it is."""

from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, NamedTuple

from serving.gateway.http.api import Api, ApiRoute, BodyHandler, Reply
from serving.gateway.http.call import HttpCall


class OwnRoute(NamedTuple):
    """A route and the API whose it is."""

    api: Api
    route: ApiRoute


class Reading:
    """How one request is read.

    Attributes:
      api: whose the request is, in whose form its errors are. Of several, the first until the body has been parsed.
    """

    def __init__(self, routes: Sequence[OwnRoute]) -> None:
        """Reads nothing yet.

        Args:
          routes: all of one method and path, in the order of the APIs. Several have a `BodyHandler` each.
        """
        self.api = routes[0].api
        self._routes = routes

    async def reply(self, call: HttpCall) -> Reply:
        """As `Handler`: what the API makes of the call."""
        if len(self._routes) == 1:
            return await self._routes[0].route.handler(call)
        reply = await call.json(partial(self._read, call))
        return await reply if isawaitable(reply) else reply

    def _read(self, call: HttpCall, body: dict[str, Any]) -> Reply | Awaitable[Reply]:
        handlers = [(api, route.handler) for api, route in self._routes if isinstance(route.handler, BodyHandler)]
        unclaimed = next((api, handler) for api, handler in handlers if handler.claims is None)
        self.api, handler = next(
            ((api, handler) for api, handler in handlers if handler.claims and handler.claims(body)), unclaimed
        )
        return handler.interpret(call, body)


def by_path(apis: Iterable[Api]) -> list[list[OwnRoute]]:
    """The routes of all APIs, those of one method and path together."""
    places: dict[tuple[str, str], list[OwnRoute]] = {}
    for api in apis:
        for route in api.routes:
            places.setdefault((route.method, route.path), []).append(OwnRoute(api, route))
    return list(places.values())
