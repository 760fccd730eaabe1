"""Components: the schemas of all types that bodies and answers are made of, each under the name of its API."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

_REF = "#/components/schemas/"


class Components:
    """Collects schemas.

    Attributes:
      schemas: by name: `ollama.ChatBody`, as several APIs have types of one name.
    """

    def __init__(self) -> None:
        self.schemas: dict[str, JsonSchemaValue] = {}

    def add(self, api: str, kinds: Iterable[Any]) -> dict[Any, JsonSchemaValue]:
        """Adds types of an API and all that they hold; the schema of each, mostly a reference."""
        prefix = f"{api.lower()}."
        inputs = [(kind, "validation", TypeAdapter(kind)) for kind in dict.fromkeys(kinds)]
        schemas, definitions = TypeAdapter.json_schemas(
            inputs,  # type: ignore[arg-type] # the modes are literals
            ref_template=f"{_REF}{prefix}{{model}}",
            schema_generator=_WithoutTitles,
        )
        self.schemas |= {f"{prefix}{name}": _plain(schema) for name, schema in definitions.get("$defs", {}).items()}
        return {kind: schema for (kind, _), schema in schemas.items()}


def _plain(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Without the name of the type once more, and without defaults that say nothing."""
    fields = {
        name: {key: value for key, value in field.items() if (key, value) != ("default", None)}
        for name, field in schema.get("properties", {}).items()
    }
    return {key: fields if key == "properties" else value for key, value in schema.items() if key != "title"}


class _WithoutTitles(GenerateJsonSchema):
    """Pydantic's titles are the names of fields once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # fields in the order of their class


def reference(schema: JsonSchemaValue) -> str:
    """The name of the component that a schema refers to, or an empty string."""
    return str(schema.get("$ref", "")).removeprefix(_REF)
