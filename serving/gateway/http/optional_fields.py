"""Bodies whose fields may be left out, and fields that clients write in more than one way."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from serving.errors import FieldError, Reason
from serving.gateway.http.json_body import WireObject


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


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""Also as `4.0`: some languages have no other numbers."""
Stops = Annotated[list[str], BeforeValidator(_one_or_many)]
"""A stop text, or a list of them."""


def refuse_unsupported(body: Mapping[str, object], neutral: Mapping[str, Sequence[object]], within: str = "") -> None:
    """Refuses fields that are not understood and would change the answer.

    Args:
      body: as it came.
      neutral: field -> values that change nothing. Nor do `null` and `false`.
      within: what stands before the names of the fields: `options.`.

    Raises:
      ServingError: UNSUPPORTED_PARAMETER with the field.
    """
    for name, values in neutral.items():
        value = body.get(name)
        if value is not None and value is not False and value not in values:
            raise FieldError(
                Reason.UNSUPPORTED_PARAMETER,
                f"{within}{name}",
                "is not supported here, and would change the answer. Leave it out.",
            )
