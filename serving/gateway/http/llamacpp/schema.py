"""The bodies of llama.cpp's server that are understood (https://github.com/ggml-org/llama.cpp, tools/server/README.md).

`null` and `false` stand for a field that is not there. Fields that say how llama.cpp should work (`id_slot`,
`cache_prompt`, `samplers`, `lora`, `t_max_prompt_ms`) are ignored, as all that are not listed. Those in `_NEUTRAL`
would change the answer: they are refused unless they have a value that changes nothing.
"""

from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, PlainValidator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from serving.errors import FieldError, Reason
from serving.gateway.http.json_body import AtMost
from serving.gateway.http.lenient import Integer, NothingIsAbsent
from serving.gateway.http.ranges import ChoiceCount, TemperatureAtMost
from serving.gateway.http.sampling import LogitBias, RecentPenalties
from serving.gateway.validation import MAX_CONTEXT_FILES

_MAX_RESPONSE_FIELDS = 256
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "dry_multiplier": (0,),
    "dynatemp_range": (0,),
    "grammar": ("",),
    "ignore_eos": (),
    "json_schema": ({},),
    "mirostat": (0,),
    "n_probs": (0,),
    "return_tokens": (),
    "top_n_sigma": (-1, 0),
    "typical_p": (1,),
    "xtc_probability": (0,),
}
"""Field -> values that change nothing."""


def _text_or_ids(value: object) -> str | list[int]:
    if isinstance(value, str) or (isinstance(value, list) and all(type(item) is int for item in value)):
        return value
    raise PydanticCustomError("prompt", "a string or a list of token ids is due")


class _LlamaCppBody(NothingIsAbsent):
    model: str = ""


class GenerationBody(_LlamaCppBody, RecentPenalties):
    """The fields that both kinds of generation have.

    Attributes:
      n_predict: tokens to generate at most; 0 computes the prompt and generates nothing; below that, no limit is set.
      n_indent: the answer ends before a line that is indented by fewer characters.
      t_max_predict_ms: from the first token on; then the answer ends, once it has a line break. 0: no limit.
      response_fields: what of an object is wanted, `/` between the names of nested ones; nothing: all of it.
      temperature: without it an infill is greedy, unless it has several answers; else 0.8.
    """

    neutral: ClassVar = _NEUTRAL

    n_predict: Integer = -1
    n_cmpl: ChoiceCount = 1
    n_indent: Integer = 0
    t_max_predict_ms: float = 0
    temperature: TemperatureAtMost | None = None
    top_k: Integer = 40
    top_p: float = 0.95
    min_p: float = 0.05
    logit_bias: LogitBias = ()
    seed: Integer = -1
    stop: list[str] = Field(default_factory=list)
    stream: bool = False
    response_fields: Annotated[list[str], AtMost(_MAX_RESPONSE_FIELDS)] = Field(default_factory=list)


class ExtraChunk(NothingIsAbsent):
    """A piece of another file."""

    text: str
    filename: str = ""


class InfillBody(GenerationBody):
    """`POST /infill`; `prompt` is the line of the cursor, up to the cursor."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[ExtraChunk], AtMost(MAX_CONTEXT_FILES)] = Field(default_factory=list)
    prompt: str = ""


class CompletionBody(GenerationBody):
    """`POST /completion`."""

    prompt: Annotated[str | list[int], PlainValidator(_text_or_ids, json_schema_input_type=str | list[int])]


def _one_text(schema: JsonSchemaValue) -> None:
    schema["oneOf"] = [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("content", "prompt")]


class TokenizeBody(_LlamaCppBody):
    """`POST /tokenize`, in llama.cpp's words or in vLLM's, whose `prompt` begins with BOS unless it says otherwise.

    Attributes:
      prompt: vLLM's name for `content`.
      add_special: begin with BOS.
      add_special_tokens: vLLM's name for `add_special`.
      parse_special: control tokens written in the text are control tokens.
      with_pieces: say the text of each token, too.
    """

    model_config = ConfigDict(json_schema_extra=_one_text)

    content: str | None = None
    prompt: str | None = None
    add_special: bool = False
    add_special_tokens: bool = False
    parse_special: bool = True
    with_pieces: bool = False

    @model_validator(mode="after")
    def _has_one_text(self) -> Self:
        if self.content is not None and self.prompt is not None:
            fault = "is another name for content, which is there too. Send one of them."
            raise FieldError(Reason.INVALID_ARGUMENT, "prompt", fault)
        if self.content is None and self.prompt is None:
            raise FieldError(Reason.INVALID_ARGUMENT, "content", "is required.")
        return self

    @property
    def text(self) -> str:
        """What to tokenise."""
        return self.content if self.content is not None else self.prompt or ""

    @property
    def text_field(self) -> str:
        """Where it was."""
        return "prompt" if self.content is None else "content"

    @property
    def begins_with_bos(self) -> bool:
        """Whether BOS is put first."""
        said = {"add_special", "add_special_tokens"} & self.model_fields_set
        return self.add_special or self.add_special_tokens if said else self.content is None


class DetokenizeBody(_LlamaCppBody):
    """`POST /detokenize`."""

    tokens: list[int]
