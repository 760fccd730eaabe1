"""document: all APIs of this service in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Literal, NotRequired, TypedDict

from serving.gateway.call_metadata import SESSION_ID_HEADER
from serving.gateway.http.api import Api, BodyHandler
from serving.gateway.http.json_text import Json
from serving.gateway.http.openapi.components import Components
from serving.gateway.http.openapi.operation import openapi_path, operation
from serving.gateway.http.shared_path import by_path
from serving.gateway.validation import MAX_SESSION_ID_CHARACTERS
from serving.request_id import REQUEST_ID_HEADER, REQUEST_ID_PATTERN

_ABOUT = """Completes code and chats, in the words of several APIs; the models are the same.

A field that is `null`, or `false` where it is no flag, is not there. A field that is not listed is ignored; one that is
listed as not supported is refused where it would change the answer. A number without a fraction is an integer.

An error is in the form of the API whose path it is, with the same status and headers in all. In a stream it is the last
event. Where a service listens on 127.0.0.1 alone, it may need no key.
"""


class Health(TypedDict):
    """Whether requests can be answered, and which models cannot be asked."""

    status: Literal["ok", "degraded"]
    unavailable: NotRequired[list[str]]


def document(apis: Sequence[Api]) -> Json:
    """The whole description."""
    components = Components()
    schemas = {
        (api.name, kind): schema for api in apis for kind, schema in components.add(api.name, _kinds(api)).items()
    }
    paths: defaultdict[str, Json] = defaultdict(dict)
    paths["/health"]["get"] = _health(
        components.add("service", [Health])[Health], schemas[apis[0].name, apis[0].error_shape]
    )
    for routes in by_path(apis):
        route = routes[0].route
        paths[openapi_path(route.path)][route.method.lower()] = operation(routes, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "codegemma-serving", "version": version("codegemma-serving"), "description": _ABOUT},
        "servers": [{"url": "./"}],
        "security": [{"bearer": []}, {"key": []}, {}],
        "tags": [{"name": "Service"}, *({"name": api.name} for api in apis)],
        "paths": dict(paths),
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of an issuer."},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same."},
            },
            "parameters": {
                "session": _header(
                    SESSION_ID_HEADER,
                    f"One cursor of one user, in at most {MAX_SESSION_ID_CHARACTERS} characters: a newer "
                    "fill-in-the-middle request ends an older one.",
                ),
                "requestId": _header(
                    REQUEST_ID_HEADER,
                    "Names the request in answers, logs and traces. If it is not "
                    f"`{REQUEST_ID_PATTERN}`, the service gives it another name.",
                ),
            },
            "headers": {
                "shouldRetry": {
                    "description": "Whether the same request may succeed later.",
                    "schema": {"enum": ["true", "false"]},
                },
                "retryAfter": {"description": "Seconds to wait before.", "schema": {"type": "integer"}},
            },
        },
    }


def _kinds(api: Api) -> Iterator[Any]:
    yield api.error_shape
    for route in api.routes:
        if isinstance(route.handler, BodyHandler):
            yield route.handler.body
        yield from (kind for kind in (route.answer.whole, route.answer.part) if kind)


def _header(name: str, about: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": about}


def _health(answer: Json, error: Json) -> Json:
    return {
        "operationId": "health",
        "tags": ["Service"],
        "summary": "Say whether requests can be answered",
        "security": [],
        "responses": {
            "200": {"description": "They can.", "content": {"application/json": {"schema": answer}}},
            "503": {"description": "They cannot.", "content": {"application/json": {"schema": error}}},
        },
    }
