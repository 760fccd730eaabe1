"""The OpenAPI document says what the service reads and answers: no more, no less."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import Route

from serving.errors import Reason, ServingError
from serving.gateway.http.api import Api, ApiRoute, BodyHandler
from serving.gateway.http.app import APIS
from serving.gateway.http.lenient import NothingIsAbsent
from serving.gateway.http.openapi.operation import openapi_path
from tests.gateway.http.openapi.document import DOCUMENT, Json, answer_faults, faults, operations
from tests.gateway.scripted_backend import ScriptedBackend

_TURNS = [{"role": "user", "content": "Hi"}]
_SOME = {"model": "codegemma-test"}
_COMPLETION: list[Json] = [
    {"prompt": "a"},
    {"prompt": ["a", "b"], "n": 2, "logprobs": 2},
    {"prompt": "a", "suffix": "b", "stream": True, "stream_options": {"include_usage": True}},
    {"prompt": "a", "logprobs": 1, "stream": True},
]
_EXAMPLES: dict[tuple[str, str], list[Json]] = {
    ("POST", "/v1/completions"): [*_COMPLETION, {"segments": {"prefix": "a"}}],
    ("POST", "/beta/completions"): _COMPLETION,
    ("POST", "/v1/beta/completions"): _COMPLETION,
    ("POST", "/v1/chat/completions"): [
        {"messages": _TURNS},
        {"messages": _TURNS, "logprobs": True, "top_logprobs": 2, "n": 2},
        {"messages": _TURNS, "logprobs": True, "stream": True, "stream_options": {"include_usage": True}},
    ],
    ("POST", "/v1/responses"): [
        {"input": "Hi"},
        {"input": "Hi", "stream": True, "metadata": {"a": "b"}, "instructions": "Be brief."},
        {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        {"input": [{"type": "function_call_output", "output": "1"}, {"type": "reasoning", "summary": []}]},
    ],
    ("POST", "/infill"): [
        {"input_prefix": "a"},
        {"input_prefix": "a", "n_cmpl": 2},
        {"input_prefix": "a", "stream": True},
        {"input_prefix": "a", "n_predict": 0},
    ],
    ("POST", "/completion"): [{"prompt": "a"}, {"prompt": [2, 3], "stream": True}],
    ("POST", "/tokenize"): [{"content": "a"}, {"content": "ä😀", "with_pieces": True}],
    ("POST", "/detokenize"): [{"tokens": [2, 3]}],
    ("POST", "/apply-template"): [{"messages": _TURNS}],
    ("POST", "/v1/events"): [{"type": "view"}],
    ("POST", "/api/show"): [_SOME, {"name": "codegemma-test"}],
    ("POST", "/api/generate"): [
        _SOME,
        {**_SOME, "prompt": "a"},
        {**_SOME, "prompt": "a", "suffix": "b", "stream": False},
        {**_SOME, "prompt": "a", "logprobs": True, "top_logprobs": 2},
        {**_SOME, "prompt": "a", "logprobs": True, "stream": False},
    ],
    ("POST", "/api/chat"): [_SOME, {**_SOME, "messages": _TURNS}, {**_SOME, "messages": _TURNS, "stream": False}],
    ("POST", "/v1/fim/completions"): [{"prompt": "a"}, {"prompt": "a", "suffix": "b", "stream": True}],
    ("POST", "/v1/messages"): [
        {"messages": _TURNS, "max_tokens": 9},
        {"messages": _TURNS, "max_tokens": 9, "system": "Be brief.", "stream": True},
    ],
    ("POST", "/v1/messages/count_tokens"): [{"messages": _TURNS}],
}
"""Requests of each operation with a body, so that each shape of its answer comes up."""
_OPERATIONS = {(method, path): operation for method, path, operation in operations()}
_ANSWERING = {place: each for place, each in _OPERATIONS.items() if "200" in each["responses"]}
_WITH_BODY = {place: each for place, each in _OPERATIONS.items() if "requestBody" in each}
_ROUTES = [(api, route) for api in APIS for route in api.routes]


def test_the_document_is_openapi_3_1() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_document_has_every_route_of_the_app_and_no_other(http_app: Starlette) -> None:
    served = {
        (method, openapi_path(route.path))
        for route in http_app.routes
        if isinstance(route, Route) and route.include_in_schema
        for method in route.methods or ()
        if method != "HEAD" or "GET" not in (route.methods or ())  # Starlette answers HEAD for each GET
    }
    assert served == set(_OPERATIONS)


def test_pages_alone_are_left_out(http_app: Starlette) -> None:
    pages = {route.path for route in http_app.routes if isinstance(route, Route) and not route.include_in_schema}
    assert not pages & {route.path for _, route in _ROUTES}


def test_every_reference_leads_somewhere_and_every_component_is_referred_to() -> None:
    references = set(_references(DOCUMENT))
    assert {each.rpartition("/")[2] for each in references if "/schemas/" in each} == set(
        DOCUMENT["components"]["schemas"]
    )
    for reference in references:
        place: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def _references(part: object) -> Iterator[str]:
    match part:
        case dict():
            for name, inner in part.items():
                yield from [inner] if name == "$ref" else _references(inner)
        case list():
            for inner in part:
                yield from _references(inner)


def test_no_name_tells_of_modules_and_operations_have_names_of_their_own() -> None:
    assert not [name for name in DOCUMENT["components"]["schemas"] if "__" in name]
    names = [operation["operationId"] for operation in _OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_every_answer_has_examples() -> None:
    assert set(_EXAMPLES) == {place for place in _WITH_BODY if place in _ANSWERING}


@pytest.mark.parametrize("place", _WITH_BODY, ids=" ".join)
async def test_the_examples_of_the_document_are_answered(client: httpx.AsyncClient, place: tuple[str, str]) -> None:
    operation = _OPERATIONS[place]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == set(operation["tags"])
    for example in examples.values():
        body = example["value"] | (_SOME if "model" in example["value"] else {})
        assert (await client.request(*place, json=body)).status_code == 200


@pytest.mark.parametrize("place", _ANSWERING, ids=" ".join)
async def test_answers_are_as_described(client: httpx.AsyncClient, place: tuple[str, str]) -> None:
    method, path = place
    for body in _EXAMPLES.get(place, [None]):
        response = await client.request(method, path.replace("{name}", "codegemma-test"), json=body)
        assert response.status_code == 200, response.text
        assert not answer_faults(_OPERATIONS[place], response)


@pytest.mark.parametrize("place", _WITH_BODY, ids=" ".join)
async def test_every_described_kind_of_answer_comes_up(client: httpx.AsyncClient, place: tuple[str, str]) -> None:
    method, path = place
    kinds = {
        (await client.request(method, path, json=body)).headers["content-type"].partition(";")[0]
        for body in _EXAMPLES[place]
    }
    assert kinds == set(_OPERATIONS[place]["responses"]["200"]["content"])


@pytest.mark.parametrize("place", _WITH_BODY, ids=" ".join)
@pytest.mark.parametrize(
    "error",
    [
        ServingError(Reason.UNAVAILABLE, "Gone."),
        ServingError(Reason.SUPERSEDED, "Late."),
        ServingError(Reason.DEADLINE_EXCEEDED, "Late."),
        RuntimeError("unforeseen"),
    ],
)
async def test_failures_are_as_described(
    client: httpx.AsyncClient, backend: ScriptedBackend, place: tuple[str, str], error: Exception
) -> None:
    backend.error = error
    backend.text = ""
    for body in _EXAMPLES[place]:
        response = await client.request(*place, json=body)
        assert not answer_faults(_OPERATIONS[place], response)


@pytest.mark.parametrize("place", _WITH_BODY, ids=" ".join)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": "other", "stream": 5}', b" " * 70_000])
async def test_refusals_are_as_described(client: httpx.AsyncClient, place: tuple[str, str], content: bytes) -> None:
    response = await client.request(*place, content=content)
    assert response.status_code >= 400
    assert not answer_faults(_OPERATIONS[place], response)


@pytest.mark.parametrize(
    ("method", "path"), [place for place, each in _OPERATIONS.items() if "501" in each["responses"]]
)
async def test_what_is_not_implemented_is_as_described(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path.replace("{digest}", "sha256:0"))
    assert response.status_code == 501
    assert method == "HEAD" or not answer_faults(_OPERATIONS[method, path], response)


_REFUSED = [
    pytest.param(api, route, name, id=f"{api.name} {route.path} {name}")
    for api, route in _ROUTES
    if isinstance(route.handler, BodyHandler) and issubclass(route.handler.body, NothingIsAbsent)
    for name in route.handler.body.neutral
    if name not in route.handler.body.model_fields
]


@pytest.mark.parametrize(("api", "route", "name"), _REFUSED)
async def test_what_is_described_as_not_supported_is_refused_by_its_name(
    client: httpx.AsyncClient, api: Api, route: ApiRoute, name: str
) -> None:
    assert isinstance(route.handler, BodyHandler)
    schema = DOCUMENT["components"]["schemas"][f"{api.name.lower()}.{route.handler.body.__name__}"]
    described = schema["properties"][name]
    assert "not supported" in described["description"]
    examples = _EXAMPLES[route.method, route.path]
    for value in described["enum"]:
        response = await client.request(route.method, route.path, json={**examples[0], name: value})
        assert response.status_code == 200, (value, response.text)
    response = await client.request(route.method, route.path, json={**examples[0], name: "something"})
    assert response.status_code == 400
    assert name in response.text
    assert "not supported" in response.text


@pytest.mark.parametrize("place", _WITH_BODY, ids=" ".join)
async def test_a_field_that_may_say_nothing_says_as_much_as_none(
    client: httpx.AsyncClient, place: tuple[str, str]
) -> None:
    content = _OPERATIONS[place]["requestBody"]["content"]["application/json"]["schema"]
    for reference in content.get("anyOf", [content]):
        schema = DOCUMENT["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
        example = next(each for each in _EXAMPLES[place] if not faults(reference, each))
        for name, field in schema["properties"].items():
            for nothing in (None, False):
                if name not in example and not faults(field, nothing):
                    response = await client.request(*place, json={**example, name: nothing})
                    assert response.status_code == 200, (name, nothing, response.text)
