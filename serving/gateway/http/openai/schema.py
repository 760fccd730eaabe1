"""The OpenAI request bodies that are understood (https://platform.openai.com/docs/api-reference).

`null` stands for a field that is not there. Fields that are not listed are ignored, but for those in `UNSUPPORTED`:
they would change the answer, so they are refused unless they have a value that changes nothing.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from serving.errors import FieldError, Reason
from serving.gateway.http.json_body import WireObject, at_most
from serving.gateway.validation import MAX_MESSAGES

MAX_PROMPTS = 64
"""Prompts in the list of one completion request."""

UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "audio": (),
    "best_of": (),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "guided_choice": ([],),
    "guided_grammar": ("",),
    "guided_json": (),
    "guided_regex": ("",),
    "ignore_eos": (False,),
    "logit_bias": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repeat_penalty": (1,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "web_search_options": (),
}
"""Field -> values that change nothing; `best_of` is compared with `n`."""

Prompts = list[str | list[int]]


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _prompts(value: object) -> Prompts:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if _are_ids(value):
            return [value]
        if all(isinstance(item, str) for item in value):
            return value
        if all(isinstance(item, list) and _are_ids(item) for item in value):
            return value
    raise PydanticCustomError(
        "prompt", "a string, a list of strings, a list of token ids or a list of such lists is due"
    )


def _are_ids(value: list[Any]) -> bool:
    return all(type(item) is int for item in value)


class ContentPart(WireObject):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


def _parts(value: object) -> object:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if isinstance(value, list):
        return value
    raise PydanticCustomError("content", "a string or a list of text parts is due")


class ChatMessage(WireObject):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[ContentPart], BeforeValidator(_parts)]


class _NullsAreAbsent(WireObject):
    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


class StreamOptions(_NullsAreAbsent):
    """What comes with a stream."""

    include_usage: bool = False


class GenerationBody(_NullsAreAbsent):
    """The fields that both kinds of request have."""

    model: str | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    n: int = 1
    seed: int | None = None
    stop: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    timeout: float | None = None
    user: str = ""


class CompletionBody(GenerationBody):
    """`POST /v1/completions`; with `suffix`, the code between prompt and suffix is filled in."""

    prompt: Annotated[Prompts, PlainValidator(_prompts)]
    suffix: str | None = None
    logprobs: int | None = None


class ChatBody(GenerationBody):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], at_most(MAX_MESSAGES)]
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None


def checked_body[B: GenerationBody](kind: type[B], body: dict[str, Any]) -> B:
    """A request body.

    Raises:
      ServingError: UNSUPPORTED_PARAMETER with the field.
      ValidationError: a field is missing or wrong.
    """
    for name, neutral in UNSUPPORTED.items():
        value = body.get(name)
        if value is None or any(value == same for same in (*neutral, *_neutral_here(name, body))):
            continue
        raise FieldError(
            Reason.UNSUPPORTED_PARAMETER, name, "is not supported here, and would change the answer. Leave it out."
        )
    return kind.model_validate(body)


def _neutral_here(name: str, body: dict[str, Any]) -> tuple[object, ...]:
    choices = body.get("n") or 1
    return (choices,) if name == "best_of" and isinstance(choices, int) else ()
