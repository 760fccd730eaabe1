"""The messages of a conversation on the OpenAI wire, and what of them the model sees.

Gemma knows neither tools nor calls of them. A history that has them is not refused: what a tool said is the user's to
say, and a call is what the model said, as text.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from serving.errors import FieldError, Reason
from serving.gateway.http.json_body import WireObject
from serving.gateway.http.tool_calls import call_text
from serving.gateway.request import Message, Speaker

_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "user": Speaker.USER,
    "tool": Speaker.USER,
    "function": Speaker.USER,
    "assistant": Speaker.MODEL,
}
_HAVE_CONTENT = ("system", "developer", "user")


def _text_or_refusal(schema: JsonSchemaValue) -> None:
    schema["properties"]["refusal"] = {"type": "string", "description": "Of a part of that type, in place of `text`."}
    schema["required"] = ["type"]


class ContentPart(WireObject):
    """A part of a message; only text is understood."""

    model_config = ConfigDict(json_schema_extra=_text_or_refusal)

    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _refusal_is_text(cls, part: object) -> object:
        if isinstance(part, dict) and part.get("type") == "refusal" and "text" not in part:
            return {"type": "refusal", "text": part.get("refusal")}
        return {"type": "text", "text": part} if isinstance(part, str) else part


def _parts(value: object) -> object:
    match value:
        case str():
            return [{"type": "text", "text": value}]
        case list() | None:
            return value
        case _:
            raise PydanticCustomError("content", "a string or a list of text parts is due")


class CalledFunction(WireObject):
    """A function that the model called."""

    name: str
    arguments: object = ""

    def __str__(self) -> str:
        return call_text(self.name, self.arguments)


class ToolCall(WireObject):
    """A call that the model made."""

    function: CalledFunction | None = None


class ChatMessage(WireObject):
    """A message of a conversation. That of a call has no content, and that of a tool may have none."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        list[ContentPart] | None, BeforeValidator(_parts, json_schema_input_type=str | list[str | ContentPart] | None)
    ] = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None

    def message(self, field: str, position: int) -> Message:
        """The message as the model sees it.

        Raises:
          ServingError: INVALID_ARGUMENT, with the position in its field, for one that has to have content.
        """
        if self.content is None and self.role in _HAVE_CONTENT:
            fault = "is required: a string or a list of text parts."
            raise FieldError(Reason.INVALID_ARGUMENT, field, fault, f"[{position}].content")
        calls = [call.function for call in self.tool_calls or () if call.function]
        if self.function_call:
            calls.append(self.function_call)
        text = "".join(part.text for part in self.content or ())
        return Message(_SPEAKERS[self.role], "\n".join([*filter(None, [text]), *map(str, calls)]))
