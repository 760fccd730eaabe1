"""What a body may say in several ways: nothing, an integer, and one or several texts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from serving.gateway.http.json_body import WireObject
from serving.gateway.http.unsupported import REFUSED, refuse_unless_neutral


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""A number without a fraction, as JSON has only one kind of number."""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Stops = Annotated[list[str], BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])]
"""A stop text, or a list of them."""


class NothingIsAbsent(WireObject):
    """An object in which `null`, and `false` for what is no flag, say as much as no field.

    Attributes:
      neutral: fields that an API has and this service has not, unless they are the object's own -> values that change
        nothing. With any other they are refused.
      place: where in a body the object is, for the errors of these fields: `options.`.
    """

    neutral: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    place: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        refuse_unless_neutral(body, cls._refused(), cls.place)
        return {
            name: value
            for name, value in body.items()
            if value is not None and (value is not False or cls._is_flag(name))
        }

    @classmethod
    def _refused(cls) -> dict[str, tuple[object, ...]]:
        return {name: values for name, values in cls.neutral.items() if name not in cls.model_fields}

    @classmethod
    def _is_flag(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and field.annotation is bool

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core, handler)
        content = handler.resolve_ref_schema(schema)
        required = content.get("required", ())
        content["properties"] = {
            name: field if name in required else _or_nothing(field, is_flag=cls._is_flag(name))
            for name, field in content.get("properties", {}).items()
        } | {name: {"enum": [*values, None, False], "description": REFUSED} for name, values in cls._refused().items()}
        return schema


def _or_nothing(field: dict[str, Any], *, is_flag: bool) -> dict[str, Any]:
    """The schema of a field that may also say nothing."""
    kept = {name: value for name, value in field.items() if name in ("default", "description")}
    bare = {name: value for name, value in field.items() if name not in kept}
    said = [option for option in bare.get("anyOf", [bare]) if option != {"type": "null"}]
    return {"anyOf": [*said, {"type": "null"} if is_flag else {"enum": [None, False]}], **kept}
