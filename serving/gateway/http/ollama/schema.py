"""The bodies of Ollama's API that are understood (https://docs.ollama.com/api).

Fields that are not listed are ignored, but for those that would change the answer: they are refused unless they have a
value that changes nothing. What Ollama is told of memory and processors (`num_ctx`, `num_gpu`, `keep_alive`) is the
operator's business here.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from serving.gateway.http.json_body import WireObject, at_most
from serving.gateway.http.lenient import Integer, NothingIsAbsent, Stops
from serving.gateway.http.sampling import RecentPenalties
from serving.gateway.http.tool_calls import call_text
from serving.gateway.http.unsupported import refuse_unless_neutral
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

    temperature: float | None = None
    top_k: Integer | None = None
    top_p: float | None = None
    min_p: float = 0.0
    seed: Integer | None = None
    num_predict: Integer = 0
    stop: Stops = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, options: object) -> object:
        if isinstance(options, dict):
            refuse_unless_neutral(options, _NEUTRAL_OPTIONS, "options.")
        return options


class ModelBody(NothingIsAbsent):
    """`POST /api/show`, and what all bodies have.

    Attributes:
      model: as the client writes it; old clients say `name`, some send both and one of them empty.
    """

    model: str

    @model_validator(mode="before")
    @classmethod
    def _by_either_name(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        model = body.get("model") or body.get("name")
        return {name: value for name, value in body.items() if name != "model"} | ({"model": model} if model else {})

    @property
    def model_id(self) -> str:
        """The model's id or alias: Ollama has a tag behind it where nobody names one."""
        return self.model.removesuffix(":latest")


class AnswerBody(ModelBody):
    """What generations and chats have in common."""

    stream: bool = True
    options: Options = Options()
    logprobs: bool = False
    top_logprobs: Integer = 0

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if isinstance(body, dict):
            refuse_unless_neutral(body, _NEUTRAL)
        return body


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

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, message: object) -> object:
        if isinstance(message, dict):
            refuse_unless_neutral(message, {"images": ([],)})
        return message

    @property
    def text(self) -> str:
        """What it says, and its calls of tools."""
        calls = (call_text(call.function.name, call.function.arguments) for call in self.tool_calls)
        return "\n".join(filter(None, (self.content, *calls)))


class ChatBody(AnswerBody):
    """`POST /api/chat`. Tools may be named, and are not called."""

    messages: Annotated[list[ChatMessage], at_most(MAX_MESSAGES)] = Field(default_factory=list)
