"""The OpenAPI document of the service, and whether an answer is as it says."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from serving.gateway.http.app import APIS
from serving.gateway.http.openapi.document import document

Json = dict[str, Any]
DOCUMENT: Json = document(APIS)


def operations() -> Iterator[tuple[str, str, Json]]:
    """Method, path and operation of each."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def closed(schema: Any) -> Any:
    """The schema with no room in any object for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


_CLOSED = {"components": {"schemas": closed(DOCUMENT["components"]["schemas"])}}


def faults(schema: Json, value: object) -> list[str]:
    """Where a value is not as a schema of the document says; fields that are not named are faults."""
    validator = Draft202012Validator({**_CLOSED, **closed(schema)})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def answer_faults(operation: Json, response: httpx.Response) -> list[str]:
    """Where a response is not as its operation says."""
    described = operation["responses"].get(str(response.status_code))
    if described is None:
        return [f"{response.status_code} is not described"]
    kind = response.headers["content-type"].partition(";")[0]
    if kind not in described["content"]:
        return [f"{kind} is not described"]
    schema = described["content"][kind]["schema"]
    if kind == "application/json":
        return faults(schema, response.json())
    return [fault for part in parts(kind, response.text) for fault in faults(schema["x-part"], part)]


def parts(kind: str, text: str) -> list[object]:
    """The objects in a stream."""
    if kind == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    data = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
    return [json.loads(each) for each in data if each != "[DONE]"]
