"""The bodies of Anthropic's Messages API that are understood: https://docs.anthropic.com/en/api/messages.

Fields that are not listed are ignored, or refused if they change the answer. Tools may be named, and are not called;
who requires a call is refused.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serving.gateway.http.json_body import AtMost, WireObject, described
from serving.gateway.http.lenient import Integer, NothingIsAbsent
from serving.gateway.http.ranges import Count, Probability, Temperature
from serving.gateway.http.tool_calls import call_text
from serving.gateway.http.unsupported import REFUSED, refuse_unless_neutral
from serving.gateway.validation import MAX_MESSAGES

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "mcp_servers": ([],),
    "output_config": ({},),
    "output_format": (),
}
_NEUTRAL_TYPES = {"thinking": ("adaptive", "disabled"), "tool_choice": ("auto", "none")}
"""Of objects by their `type`, whatever else they say."""


def _blocks(value: object) -> object:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if isinstance(value, list):
        return value
    raise PydanticCustomError("content", "a string or a list of blocks is due")


class TextBlock(WireObject):
    """Text."""

    type: Literal["text"]
    text: str


TextBlocks = Annotated[list[TextBlock], BeforeValidator(_blocks, json_schema_input_type=str | list[TextBlock])]


class Block(NothingIsAbsent):
    """A part of a message: text, or in a history that others began, a call of a tool and what that answered."""

    type: Literal["text", "tool_use", "tool_result"]
    text: str = ""
    name: str = ""
    input: object = ""
    content: TextBlocks = Field(default_factory=list)

    @property
    def words(self) -> str:
        """What the model sees of it."""
        match self.type:
            case "text":
                return self.text
            case "tool_use":
                return call_text(self.name, self.input)
            case "tool_result":
                return "\n\n".join(block.text for block in self.content)


class ConversationMessage(WireObject):
    """A message of a conversation."""

    role: Literal["user", "assistant"]
    content: Annotated[list[Block], BeforeValidator(_blocks, json_schema_input_type=str | list[Block])]


class ConversationBody(NothingIsAbsent):
    """`POST /v1/messages/count_tokens`, and what a message is made of."""

    model_config = ConfigDict(
        json_schema_extra=described(
            **{
                name: {
                    "type": "object",
                    "properties": {"type": {"enum": [*types, None, False]}},
                    "description": REFUSED,
                }
                for name, types in _NEUTRAL_TYPES.items()
            }
        )
    )
    neutral: ClassVar = _NEUTRAL

    messages: Annotated[list[ConversationMessage], AtMost(MAX_MESSAGES)]
    model: str | None = None
    system: TextBlocks = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if isinstance(body, dict):
            for name, types in _NEUTRAL_TYPES.items():
                if isinstance(value := body.get(name), dict):
                    refuse_unless_neutral(value, {"type": types}, f"{name}.")
                else:
                    refuse_unless_neutral(body, {name: ()})
        return body


class MessageBody(ConversationBody):
    """`POST /v1/messages`."""

    max_tokens: Count
    temperature: Temperature = 1.0
    top_k: Integer = 0
    top_p: Probability = 1.0
    stop_sequences: list[str] = Field(default_factory=list)
    stream: bool = False
