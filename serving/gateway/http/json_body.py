"""Request bodies in JSON: read within bounds, off the event loop where that takes long, and refused in JSON's words.

Every HTTP format reads its bodies by `read_json` and describes them by `WireObject`s.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, from_json
from pydantic_core.core_schema import no_info_before_validator_function

from serving.errors import FieldError, Reason, ServingError
from serving.gateway.http.docstrings import about, attributes
from serving.gateway.http.json_bounds import check_bounds
from serving.gateway.http.json_surrogates import without_half_pairs
from serving.gateway.shown import shown

_AT_ONCE = 64 * 1024
"""Bytes of a body that takes no longer to read than to hand to a thread, whatever it says."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, which Windows puts in front of texts (RFC 8259, section 8.1, lets a parser skip it)."""
_LISTS = ("list", "tuple", "set", "frozenset")


def _failing_fast(schema: Any) -> Any:
    """The schema with pydantic's `FailFast` on each list, or it would make an error of each wrong item."""
    if isinstance(schema, list):
        return [_failing_fast(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    fast = {name: part if name == "default" else _failing_fast(part) for name, part in schema.items()}
    return fast | {"fail_fast": True} if schema.get("type") in _LISTS else fast


class WireObject(BaseModel):
    """An object in a request body. Nothing is converted, and a list is looked at up to its first wrong item only."""

    model_config = ConfigDict(strict=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _failing_fast(handler(source))
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        content = handler.resolve_ref_schema(schema)
        fields, said = content.get("properties", {}), attributes(cls)
        content |= {"description": about(cls)}
        content["properties"] = {
            name: {**field, "description": said[name]} if name in said else field for name, field in fields.items()
        }
        return schema


def described(**fields: JsonSchemaValue) -> Callable[[JsonSchemaValue], None]:
    """`json_schema_extra` of an object of which a validator reads these fields, before they are gone."""

    def add(schema: JsonSchemaValue) -> None:
        schema["properties"] = {**fields, **schema.get("properties", {})}

    return add


@dataclass(frozen=True)
class AtMost:
    """Annotates a list whose items are not looked at if there are more; pydantic's own limit counts checked ones."""

    items: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self._few, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "maxItems": self.items}

    def _few(self, value: object) -> object:
        if isinstance(value, list) and len(value) > self.items:
            raise PydanticCustomError(
                "too_many", "{size} items are more than the limit, {limit}", {"size": len(value), "limit": self.items}
            )
        return value


async def read_json[T](data: bytes | bytearray, interpret: Callable[[dict[str, Any]], T]) -> T:
    """What a body says.

    Args:
      data: the body.
      interpret: called with the body's object; may raise `ServingError` or pydantic's `ValidationError`. Runs in a
        thread if the body is large.

    Raises:
      ServingError: MALFORMED_BODY; INVALID_ARGUMENT, with the field if it is one; what `interpret` raises.
    """
    if len(data) <= _AT_ONCE:
        return _read(data, interpret)
    return await asyncio.to_thread(_read, data, interpret)


def _read[T](data: bytes | bytearray, interpret: Callable[[dict[str, Any]], T]) -> T:
    check_bounds(data)
    body = _parsed(data.removeprefix(_BYTE_ORDER_MARK))
    if not isinstance(body, dict):
        raise ServingError(Reason.MALFORMED_BODY, "The body is not a JSON object.")
    try:
        return interpret(body)
    except ValidationError as error:
        raise _invalid(error) from None


def _parsed(data: bytes | bytearray) -> object:
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        data = without_half_pairs(data)  # rare, and takes longer than to parse
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ServingError(Reason.MALFORMED_BODY, f"The body is not JSON in UTF-8: {error}.") from None


def _invalid(error: ValidationError) -> FieldError:
    first = error.errors(include_url=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return FieldError(Reason.INVALID_ARGUMENT, field, "is required.")
    fault = _in_json_words(first)
    return FieldError(Reason.INVALID_ARGUMENT, field, f"is {shown(first['input'])}: {fault[0].lower()}{fault[1:]}.")


def _in_json_words(fault: ErrorDetails) -> str:
    """Pydantic's message for JSON; what was checked here is Python by then, and its messages speak of that."""
    details = InitErrorDetails(type=fault["type"], input=fault["input"], ctx=fault.get("ctx", {}))
    try:
        error = ValidationError.from_exception_data("", [details], input_type="json")
    except KeyError:  # not one of pydantic's own kinds of error: a format has worded it itself
        return fault["msg"]
    return error.errors(include_url=False)[0]["msg"]
