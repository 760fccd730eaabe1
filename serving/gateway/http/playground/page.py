"""The routes of the page and of its files, which are open to everyone: they say nothing of the service.

The page asks for a key itself, when a route that needs one refuses it. All is relative to where the page is, so that it
works behind an ingress that takes away the beginning of a path.
"""

import secrets
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.gateway.http.open_response import OpenResponse
from serving.gateway.http.playground.page_file import PageFile, read_page_files
from serving.servers.places import Places

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PAGE = "index.html"
_NONCE_MARK = b"__NONCE__"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but what comes from here, and no style in the page but the editor's, which knows the nonce
(https://www.w3.org/TR/CSP3/). Chromium gives what is typed over coloured text a `style`, and says in the console that
it may not: the editor takes the text alone anyway."""


def page_routes(places: Places) -> Sequence[Route]:
    """The page at `/`, and what it loads. `places` are of those who read what needs no key."""

    async def file(request: Request) -> Response:
        return _file(request, places)

    return [
        Route("/", _page, include_in_schema=False),
        Route("/playground/{name}", file, include_in_schema=False),
    ]


async def _page(request: Request) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = _files()[_PAGE].content.replace(_NONCE_MARK, nonce.encode())
    headers = {**_HEADERS, "cache-control": "no-store", "content-security-policy": _POLICY.format(nonce=nonce)}
    return Response(page, headers=headers, media_type="text/html")


def _file(request: Request, places: Places) -> Response:
    name = request.path_params["name"]
    file = _files().get(name)
    if file is None or name == _PAGE:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # Gateways of two versions serve side by side while a new one is deployed: what is cached is always asked after.
    headers = {**_HEADERS, "cache-control": "no-cache", "etag": file.etag, "vary": "accept-encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = file.content
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["content-encoding"] = file.packed, "gzip"
    return OpenResponse(places, content, media_type=file.media_type, headers=headers)


@cache
def _files() -> dict[str, PageFile]:
    return read_page_files()
