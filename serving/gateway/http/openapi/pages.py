"""The pages of the description: `/openapi.json`, and `/docs`, where Swagger UI shows it.

They need no key, as they say nothing of this service but which APIs it has. Swagger UI's files come from the package
`fastapi-offline` and are sent from here: a browser that reads the page asks no other server.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import fastapi_offline
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

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


def description_routes(document: bytes) -> Sequence[Route]:
    """The routes of both, and of what the page consists of.

    Args:
      document: the description in JSON.
    """

    async def description(request: Request) -> Response:
        return Response(document, media_type="application/json")

    pages = {
        "/openapi.json": description,
        "/docs": _page,
        "/docs/start.js": _start,
        "/docs/swagger-ui.js": _script,
        "/docs/swagger-ui.css": _style,
    }
    return [Route(path, page, include_in_schema=False) for path, page in pages.items()]


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


async def _start(request: Request) -> Response:
    return Response(_START, media_type="text/javascript")


async def _script(request: Request) -> Response:
    return FileResponse(_FILES / "swagger-ui-bundle.js", headers=_CACHED)


async def _style(request: Request) -> Response:
    return FileResponse(_FILES / "swagger-ui.css", headers=_CACHED)
