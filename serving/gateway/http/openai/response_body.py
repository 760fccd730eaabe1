"""The body of `POST /v1/responses`, and what is generated for it: text, without state between requests."""

from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypedDict

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serving.gateway.http.json_body import AtMost, described
from serving.gateway.http.lenient import NothingIsAbsent
from serving.gateway.http.openai.messages import ChatMessage, ContentPart
from serving.gateway.http.ranges import Count, Probability, Temperature
from serving.gateway.http.unsupported import REFUSED, refuse_unless_neutral
from serving.gateway.request import ChatPrompt, CodeRequest, Message, Speaker
from serving.gateway.sampling import new_seed
from serving.gateway.validation import MAX_MESSAGES
from sharding.step import SamplingParams

WORDS = {"messages": "input", "max_tokens": "max_output_tokens"}
"""What a body calls fields of its request."""

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "background": (),
    "conversation": (),
    "include": ([], ["reasoning.encrypted_content"]),
    "previous_response_id": (),
    "prompt": (),
    "tool_choice": ("none", "auto"),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
"""As in `neutral.py`, of this API alone: nothing is kept from which another request could go on."""


def _items(value: object) -> object:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("input", "a string or a list of items is due")
    return [_as_message(item) for item in value if not _is_reasoning(item)]


def _is_reasoning(item: object) -> bool:
    """Whether an item is the reasoning of another model, which only that model reads."""
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _as_message(item: object) -> object:
    if not isinstance(item, dict):
        return item
    match item.get("type", "message"):
        case "message":
            return item
        case "function_call":
            return {"role": "assistant", "function_call": item}
        case "function_call_output":
            return {"role": "tool", "content": item.get("output")}
        case other:
            raise PydanticCustomError("item", "items of the type {type} are not supported here", {"type": str(other)})


_TEXT_FORMAT = {"enum": [{"type": "text"}, None, False], "description": REFUSED}


class FunctionCall(TypedDict):
    """A call that a model made, in a history that has one."""

    type: Literal["function_call"]
    name: str
    arguments: NotRequired[object]


class FunctionCallOutput(TypedDict):
    """What the function said."""

    type: Literal["function_call_output"]
    output: NotRequired[str | list[str | ContentPart] | None]


class Reasoning(TypedDict):
    """What another model has thought. It is left out."""

    type: Literal["reasoning"]


_Item = ChatMessage | FunctionCall | FunctionCallOutput | Reasoning
"""What may stand in `input`; `_items` makes messages of all."""


class ResponseBody(NothingIsAbsent):
    """`POST /v1/responses`. Tools that the caller does not require are answered as text, without them."""

    model_config = ConfigDict(
        json_schema_extra=described(text={"type": "object", "properties": {"format": _TEXT_FORMAT}})
    )
    neutral: ClassVar = _NEUTRAL

    input: Annotated[
        list[ChatMessage], AtMost(MAX_MESSAGES), BeforeValidator(_items, json_schema_input_type=str | list[_Item])
    ]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: Count | None = None
    temperature: Temperature = 0.0
    top_p: Probability = 1.0
    stream: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, body: object) -> object:
        if isinstance(body, dict):
            if isinstance(text := body.get("text"), dict):
                refuse_unless_neutral(text, {"format": ({"type": "text"},)}, "text.")
            else:
                refuse_unless_neutral(body, {"text": ()})
        return body


def response_request(body: ResponseBody) -> CodeRequest:
    """The request of a body.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    messages = [message.message("input", position) for position, message in enumerate(body.input)]
    if body.instructions:
        messages.insert(0, Message(Speaker.SYSTEM, body.instructions))
    return CodeRequest(
        prompt=ChatPrompt(tuple(messages)),
        model=body.model,
        max_tokens=body.max_output_tokens,
        sampling=SamplingParams(temperature=body.temperature, top_p=body.top_p, seed=new_seed()),
    )
