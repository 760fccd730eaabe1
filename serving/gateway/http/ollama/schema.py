"""The bodies of Ollama's API that are understood (https://docs.ollama.com/api).

Fields that are not listed are ignored, but for those that would change the answer: they are refused unless they have a
value that changes nothing. What clients set of memory and processors (`num_ctx`, `num_gpu`, `keep_alive`) is the
operator's business here.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import JsonSchemaValue

from serving.gateway.http.json_body import AtMost, WireObject
from serving.gateway.http.lenient import Integer, NothingIsAbsent, Stops
from serving.gateway.http.ranges import LogprobCount, Probability, Temperature
from serving.gateway.http.sampling import RecentPenalties
from serving.gateway.http.tool_calls import call_text
from serving.gateway.validation import MAX_MESSAGES

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "context": ([],),
    "format": ("",),
    "images": ([],),
    "template": ("",),
    "think": ("",),
}
_NEUTRAL_OPTIONS: dict[str, tuple[object, ...]] = {
    "mirostat": (0,),
    "tfs_z": (1,),
    "typical_p": (1,),
}


class Options(RecentPenalties):
    """How to generate. None of `temperature`, `top_k` and `top_p` leaves it to the kind of prompt."""

    neutral: ClassVar = _NEUTRAL_OPTIONS
    place: ClassVar = "options."

    temperature: Temperature | None = None
    top_k: Integer | None = None
    top_p: Probability | None = None
    min_p: float = 0.0
    seed: Integer | None = None
    num_predict: Integer = 0
    stop: Stops = Field(default_factory=list)


def _by_name_too(schema: JsonSchemaValue) -> None:
    schema["properties"]["name"] = {"type": "string", "description": "In place of `model`, from old clients."}
    schema["required"].remove("model")
    schema["anyOf"] = [{"required": ["model"]}, {"required": ["name"]}]


class ModelBody(NothingIsAbsent):
    """`POST /api/show`, and what all bodies have.

    Attributes:
      model: as the client writes it; old clients say `name`, some send both and one of them empty.
    """

    model_config = ConfigDict(json_schema_extra=_by_name_too)

    model: str

    @model_validator(mode="before")
    @classmethod
    def _by_either_name(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        model = body.get("model") or body.get("name")
        return {name: value for name, value in body.items() if name != "model"} | ({"model": model} if model else {})


class AnswerBody(ModelBody):
    """What generations and chats have in common."""

    neutral: ClassVar = _NEUTRAL

    stream: bool = True
    options: Options = Options()
    logprobs: bool = False
    top_logprobs: LogprobCount = 0


class GenerateBody(AnswerBody):
    """`POST /api/generate`."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False


class CalledFunction(WireObject):
    """A function that the model called."""

    name: str
    arguments: object = ""


class ToolCall(WireObject):
    """A call that the model made."""

    function: CalledFunction


class ChatMessage(NothingIsAbsent):
    """A message of a conversation."""

    neutral: ClassVar = {"images": ([],)}

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)

    @property
    def text(self) -> str:
        """What it says, and its calls of tools."""
        calls = (call_text(call.function.name, call.function.arguments) for call in self.tool_calls)
        return "\n".join(filter(None, (self.content, *calls)))


class ChatBody(AnswerBody):
    """`POST /api/chat`. Tools may be named, and are not called."""

    messages: Annotated[list[ChatMessage], AtMost(MAX_MESSAGES)] = Field(default_factory=list)
