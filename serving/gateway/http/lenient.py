"""What a body may say in several ways: nothing, an integer, and one or several texts."""

from typing import Annotated

from pydantic import BeforeValidator, model_validator

from serving.gateway.http.json_body import WireObject


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""A number without a fraction, as JSON has only one kind of number."""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Stops = Annotated[list[str], BeforeValidator(_one_or_many)]
"""A stop text, or a list of them."""


class NothingIsAbsent(WireObject):
    """An object in which `null`, and `false` for what is no flag, say as much as no field."""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        return {
            name: value
            for name, value in body.items()
            if value is not None and (value is not False or cls._is_flag(name))
        }

    @classmethod
    def _is_flag(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and field.annotation is bool
