"""The text fields that a schema has: a new one is among them without being named."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from serving.gateway.http.openapi.components import reference
from serving.gateway.http.unsupported import REFUSED

Json = Any
PLACE = "\ue000"
"""Stands for the text in a body."""
_DEEPEST = 20


class TextField(NamedTuple):
    """A field, in one of the ways in which a body may have it.

    Attributes:
      path: `messages[].content[].text`.
      body: what has it and, in objects within, what is required beside it; with `PLACE` in it.
    """

    path: str
    body: Json

    def with_text(self, text: str) -> Json:
        """The body with a text in its place."""
        return _filled(self.body, text)


def text_fields(schema: Json, schemas: Mapping[str, Json]) -> list[TextField]:
    """All text fields of an object's schema.

    Args:
      schema: whose components are `schemas`.
      schemas: by name.
    """
    return [TextField(path, body) for path, body in _Walk(schemas).fields(schema)]


def joined(first: Json, second: Json, level: int = 0) -> Json:
    """One body with the fields of both.

    Args:
      first: what comes first in lists.
      second: what counts where both have a value.
      level: lists of this depth are put one after the other; in those around them, items of one position are one.
    """
    match first, second:
        case dict(), dict():
            both = {**first, **second}
            return both | {name: joined(first[name], second[name], level) for name in first.keys() & second.keys()}
        case list(), list() if level:
            inner = [joined(*pair, level - 1) for pair in zip(first, second, strict=False)]
            return [*inner, *first[len(inner) :], *second[len(inner) :]]
        case list(), list():
            return [*first, *second]
        case _:
            return second


def _filled(body: Json, text: str) -> Json:
    match body:
        case str():
            return body.replace(PLACE, text)
        case list():
            return [_filled(each, text) for each in body]
        case dict():
            return {_filled(name, text): _filled(value, text) for name, value in body.items()}
        case _:
            return body


class _Walk:
    """Walks through schemas."""

    def __init__(self, schemas: Mapping[str, Json]) -> None:
        self._schemas = schemas

    def fields(self, schema: Json) -> Iterator[tuple[str, Json]]:
        """Those of an object, each in a body without what else is required."""
        for name, field in schema["properties"].items():
            yield from ((f"{name}{path}", {name: value}) for path, value in self._texts(field, 0))

    def _texts(self, schema: Json, deep: int) -> Iterator[tuple[str, Json]]:
        if deep > _DEEPEST or schema.get("description") == REFUSED:
            return
        if "$ref" in schema:
            yield from self._texts(self._schemas[reference(schema)], deep + 1)
        for option in schema.get("anyOf", ()):
            yield from self._texts(option, deep + 1)
        if not schema.keys() - {"default", "description"}:  # anything
            yield "", PLACE
            yield "{}", {PLACE: PLACE}
        elif schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
            yield "", PLACE
        elif "prefixItems" in schema:
            items = schema["prefixItems"]
            for position, item in enumerate(items):
                before, after = (self._tuple(part) for part in (items[:position], items[position + 1 :]))
                yield from (
                    (f"[{position}]{path}", [*before, value, *after]) for path, value in self._texts(item, deep + 1)
                )
        elif schema.get("type") == "array":
            yield from ((f"[]{path}", [value]) for path, value in self._texts(schema["items"], deep + 1))
        elif schema.get("type") == "object":
            for name, field in schema.get("properties", {}).items():
                for path, value in self._texts(field, deep + 1):
                    for least in self._least(schema):
                        yield f".{name}{path}", {**least, name: value}
            if schema.get("additionalProperties") is True:
                yield "{}", {PLACE: PLACE}
            elif values := schema.get("additionalProperties"):
                yield "{}", {PLACE: self._values(values)[0]}

    def _least(self, schema: Json) -> list[Json]:
        """Objects with what is required alone, one for each value of their enums."""
        objects: list[Json] = [{}]
        for name in schema.get("required", ()):
            values = self._values(schema["properties"][name])
            objects = [{**each, name: copy.deepcopy(value)} for each in objects for value in values]
        return objects

    def _tuple(self, items: list[Json]) -> list[Json]:
        return [self._values(item)[0] for item in items]

    def _values(self, schema: Json) -> list[Json]:
        """Some values of a schema: all of an enum, one of what is free."""
        if "$ref" in schema:
            return self._values(self._schemas[reference(schema)])
        if "anyOf" in schema:
            return self._values(schema["anyOf"][0])
        if "enum" in schema or "const" in schema:
            return list(schema.get("enum", [schema.get("const")]))
        match schema.get("type"):
            case "array" if "prefixItems" in schema:
                return [self._tuple(schema["prefixItems"])]
            case "array":
                return [self._values(schema["items"])[:1]]
            case "object":
                return self._least(schema)[:1]
            case "integer" | "number":
                return [1]
            case _:
                return ["a"]
