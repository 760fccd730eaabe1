"""The pages of the description: `/openapi.json`, and `/docs`, where Swagger UI shows it.

They need no key, as they say nothing of this service but which APIs it has. Swagger UI's files come from the package
`fastapi-offline` and are sent from here: a browser that reads the page asks no other server.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import fastapi_offline
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.gateway.http.open_response import OpenResponse
from serving.servers.places import Places

_FILES = Path(str(files(fastapi_offline))) / "static"
_CACHED = {"cache-control": "max-age=86400"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere. Swagger UI sets styles and has pictures in its style sheet."""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>codegemma-serving: HTTP APIs</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<p style="margin: 1em auto; max-width: 1420px; padding: 0 20px; font-family: sans-serif">
  <a href="./">Playground</a> &middot; <a href="openapi.json">openapi.json</a></p>
<div id="description"></div>
<noscript><p>This page needs JavaScript. <a href="openapi.json">openapi.json</a> says the same.</p></noscript>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#description",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // otherwise it asks one on the internet
});
"""


def description_routes(document: bytes, places: Places) -> Sequence[Route]:
    """The routes of both, and of what the page consists of.

    Args:
      document: the description in JSON.
      places: of those who read what needs no key.
    """
    files = {
        "/openapi.json": _File(document, "application/json", {}),
        "/docs": _File(_PAGE.encode(), "text/html", {"content-security-policy": _POLICY}),
        "/docs/start.js": _File(_START.encode(), "text/javascript", {}),
        "/docs/swagger-ui.js": _File(_swagger("swagger-ui-bundle.js"), "text/javascript", _CACHED),
        "/docs/swagger-ui.css": _File(_swagger("swagger-ui.css"), "text/css", _CACHED),
    }
    return [Route(path, file.endpoint(places), include_in_schema=False) for path, file in files.items()]


class _File(NamedTuple):
    content: bytes
    media_type: str
    headers: Mapping[str, str]

    def endpoint(self, places: Places) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return OpenResponse(places, self.content, media_type=self.media_type, headers=self.headers)

        return endpoint


@cache
def _swagger(name: str) -> bytes:
    return (_FILES / name).read_bytes()
