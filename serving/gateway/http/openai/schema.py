"""The OpenAI request bodies that are understood (https://platform.openai.com/docs/api-reference).

`null` stands for a field that is not there, and so does `false` where a field has another type. A number without a
fraction is an integer, as in JSON. Fields that are not listed are ignored: `neutral.py` refuses those that would change
the answer.
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from serving.gateway.http.json_body import AtMost, described
from serving.gateway.http.lenient import Integer, NothingIsAbsent, Stops
from serving.gateway.http.openai.messages import ChatMessage
from serving.gateway.http.openai.neutral import NEUTRAL, refuse_unsupported
from serving.gateway.http.ranges import (
    ChoiceCount,
    CountOrNoLimit,
    LogprobCount,
    Probability,
    RepetitionPenalty,
    Seconds,
    Temperature,
)
from serving.gateway.http.sampling import LogitBias, Penalties
from serving.gateway.validation import MAX_CONTEXT_FILES, MAX_MESSAGES, MAX_STOPS

MAX_PROMPTS = 64
"""Prompts in the list of one completion request."""

Prompts = list[str | list[int]]
_AnyPrompt = str | list[str] | list[int] | list[list[int]]


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


class StreamOptions(NothingIsAbsent):
    """What comes with a stream."""

    include_usage: bool = False


class GenerationBody(Penalties):
    """The fields that both kinds of request have, with vLLM's and llama.cpp's of how to draw.

    Attributes:
      repetition_penalty: vLLM's, which counts the prompt and what was generated.
      repeat_penalty: llama.cpp's word for it. With it or `repeat_last_n`, all penalties count as llama.cpp's do.
    """

    model_config = ConfigDict(
        json_schema_extra=described(best_of={"type": "integer", "description": "As `n`, or it is refused."})
    )
    neutral: ClassVar = NEUTRAL

    model: str | None = None
    max_tokens: CountOrNoLimit | None = None
    max_completion_tokens: CountOrNoLimit | None = None
    temperature: Temperature | None = None
    top_p: Probability = 1.0
    top_k: CountOrNoLimit = 0
    min_p: Probability = 0.0
    repetition_penalty: RepetitionPenalty = 1.0
    repeat_penalty: RepetitionPenalty | None = None
    repeat_last_n: Integer | None = None
    logit_bias: LogitBias = ()
    n: ChoiceCount = 1
    seed: Integer | None = None
    stop: Stops = Field(default_factory=list)
    stop_token_ids: Annotated[list[Integer], AtMost(MAX_STOPS)] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)
    timeout: Seconds | None = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if isinstance(body, dict):
            refuse_unsupported(body)
        return body


class ContextFileBody(NothingIsAbsent):
    """Another file of the repository, or the beginning of one."""

    path: str
    text: str


class CompletionBody(GenerationBody):
    """`POST /v1/completions`; with `suffix`, the code between prompt and suffix is filled in.

    Four fields are ours, for such code: `post_processing`; `path` of the file and its `language`, as editors name it,
    which is otherwise known by the path; and `context_files` of the same repository.
    """

    prompt: Annotated[Prompts, PlainValidator(_prompts, json_schema_input_type=_AnyPrompt)]
    suffix: str | None = None
    logprobs: LogprobCount | None = None
    echo: bool = False
    post_processing: bool = False
    path: str = ""
    language: str = ""
    context_files: Annotated[list[ContextFileBody], AtMost(MAX_CONTEXT_FILES)] = Field(default_factory=list)


class ChatBody(GenerationBody):
    """`POST /v1/chat/completions`. Tools that the caller does not require are answered as text, without them."""

    messages: Annotated[list[ChatMessage], AtMost(MAX_MESSAGES)]
    logprobs: bool = False
    top_logprobs: LogprobCount | None = None
