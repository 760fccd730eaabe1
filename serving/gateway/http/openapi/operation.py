"""operation: what OpenAPI says of one method and path."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from serving.errors import WIRE_ERRORS, Reason
from serving.gateway.http.api import BodyHandler
from serving.gateway.http.framing import Framing
from serving.gateway.http.json_text import Json
from serving.gateway.http.openapi.components import reference
from serving.gateway.http.shared_path import OwnRoute

type Schemas = Mapping[tuple[str, Any], Json]
"""The schema of a type by the name of its API and the type."""

_OF_ALL = (
    Reason.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED,
    Reason.INVALID_ARGUMENT,
    Reason.RATE_LIMIT_EXCEEDED,
    Reason.OVERLOADED,
    Reason.UNAVAILABLE,
    Reason.INTERNAL,
)
_OF_BODIES = (
    Reason.MALFORMED_BODY,
    Reason.UNSUPPORTED_PARAMETER,
    Reason.CONTEXT_LENGTH_EXCEEDED,
    Reason.ROLE_NOT_SERVED,
    Reason.MODEL_NOT_FOUND,
    Reason.REQUEST_TIMEOUT,
    Reason.SUPERSEDED,
    Reason.BODY_TOO_LARGE,
    Reason.DEADLINE_EXCEEDED,
)
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def openapi_path(path: str) -> str:
    """A path of Starlette's as OpenAPI writes it."""
    return _PARAMETER.sub(r"{\1}", path)


def operation(routes: Sequence[OwnRoute], schemas: Schemas) -> Json:
    """The operation of the routes of one method and path; of several APIs, one of them answers by the body."""
    method, path = routes[0].route.method, routes[0].route.path
    bodies = [schemas[api.name, route.handler.body] for api, route in routes if isinstance(route.handler, BodyHandler)]
    names = _PARAMETER.findall(path)
    described: Json = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "tags": [api.name for api, _ in routes],
        "summary": "; ".join(dict.fromkeys(route.summary for _, route in routes)),
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
    }
    if bodies:
        described["parameters"] += [{"$ref": f"#/components/parameters/{name}"} for name in ("session", "requestId")]
        examples = {api.name: {"value": route.example} for api, route in routes if route.example is not None}
        content = {"schema": any_of(bodies), "examples": examples}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    reasons = [*_OF_ALL, *(_OF_BODIES if bodies else ())]
    if names:
        reasons.append(Reason.MODEL_NOT_FOUND)
    if all(route.answer.whole is None for _, route in routes):
        reasons.append(Reason.NOT_IMPLEMENTED)
    errors = any_of([schemas[api.name, api.error_shape] for api, _ in routes])
    described["responses"] = {
        **_answers(routes, schemas),
        **dict(_errors(reasons, {} if method == "HEAD" else {"application/json": {"schema": errors}})),
    }
    return described


def any_of(schemas: Iterable[Json]) -> Json:
    """The schema of what has one of several."""
    different = list({str(schema): schema for schema in schemas}.values())
    return different[0] if len(different) == 1 else {"anyOf": different}


def _answers(routes: Sequence[OwnRoute], schemas: Schemas) -> Json:
    whole = [schemas[api.name, route.answer.whole] for api, route in routes if route.answer.whole]
    if not whole:
        return {}
    content: Json = {"application/json": {"schema": any_of(whole)}}
    for api, route in routes:
        if framing := route.answer.framing:
            error = schemas[api.name, api.error_shape]
            part = any_of([schemas[api.name, route.answer.part], error])
            content[framing.media_type] = {"schema": _stream(framing, part, route.answer.end)}
    return {"200": {"description": "The answer" if len(content) == 1 else "Whole, or streamed", "content": content}}


def _stream(framing: Framing, part: Json, end: str) -> Json:
    """The schema of a stream, which to OpenAPI 3.1 is a text; that of its parts is for readers and for our tests."""
    names = " or ".join(f"`{reference(schema)}`" for schema in part.get("anyOf", [part]))
    unit = "The data of each server-sent event is" if framing.sign_of_life else "Each line is JSON,"
    return {"type": "string", "description": f"{unit} {names}. {end}", "x-part": part}


def _errors(reasons: Iterable[Reason], content: Json) -> Iterator[tuple[str, Json]]:
    by_status: defaultdict[int, list[Reason]] = defaultdict(list)
    for reason in reasons:
        by_status[WIRE_ERRORS[reason].http_status].append(reason)
    for status, same in sorted(by_status.items()):
        about = f"{HTTPStatus(status).phrase}: {', '.join(f'`{reason}`' for reason in same)}"
        headers = {"x-should-retry": {"$ref": "#/components/headers/shouldRetry"}}
        if any(WIRE_ERRORS[reason].retryable for reason in same):
            headers["retry-after"] = {"$ref": "#/components/headers/retryAfter"}
        yield str(status), {"description": about, "headers": headers, "content": content}
