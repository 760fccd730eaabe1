"""Request bodies in JSON: read within bounds, off the event loop where that takes long, and refused in JSON's words.

Every HTTP format reads its bodies by `read_json` and describes them by `WireObject`s.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, from_json

from serving.errors import FieldError, Reason, ServingError
from serving.gateway.http.json_bounds import check_bounds
from serving.gateway.shown import shown

_AT_ONCE = 64 * 1024
"""Bytes of a body that takes no longer to read than to hand to a thread, whatever it says."""
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


def at_most(items: int) -> BeforeValidator:
    """Annotates a list whose items are not looked at if there are more; pydantic's own limit counts checked ones."""

    def few(value: object) -> object:
        if isinstance(value, list) and len(value) > items:
            raise PydanticCustomError(
                "too_many", "{size} items are more than the limit, {limit}", {"size": len(value), "limit": items}
            )
        return value

    return BeforeValidator(few)


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
    try:
        body = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ServingError(Reason.MALFORMED_BODY, f"The body is not JSON in UTF-8: {error}.") from None
    if not isinstance(body, dict):
        raise ServingError(Reason.MALFORMED_BODY, "The body is not a JSON object.")
    try:
        return interpret(body)
    except ValidationError as error:
        raise _invalid(error) from None


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
