"""The bodies of llama.cpp's server that are understood (https://github.com/ggml-org/llama.cpp, tools/server/README.md).

`null` stands for a field that is not there. Fields that say how llama.cpp should work (`id_slot`, `cache_prompt`,
`samplers`, `lora`, `t_max_prompt_ms`) are ignored, as all that are not listed. Those in `_UNSUPPORTED` would change the
answer: they are refused unless they have a value that changes nothing.
"""

from typing import Annotated

from pydantic import Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from serving.errors import FieldError, Reason
from serving.gateway.http.json_body import NullsAreAbsent, at_most
from serving.gateway.validation import MAX_CONTEXT_FILES

_MAX_RESPONSE_FIELDS = 256
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "dry_multiplier": (0,),
    "dynatemp_range": (0,),
    "frequency_penalty": (0,),
    "grammar": ("",),
    "ignore_eos": (False,),
    "json_schema": ({},),
    "logit_bias": ([], {}, False),
    "min_p": (0,),
    "mirostat": (0,),
    "n_probs": (0,),
    "presence_penalty": (0,),
    "repeat_penalty": (1,),
    "return_tokens": (False,),
    "top_n_sigma": (-1, 0),
    "typical_p": (1,),
    "xtc_probability": (0,),
}
"""Field -> values that change nothing."""


def _text_or_ids(value: object) -> str | list[int]:
    if isinstance(value, str) or (isinstance(value, list) and all(type(item) is int for item in value)):
        return value
    raise PydanticCustomError("prompt", "a string or a list of token ids is due")


class _LlamaCppBody(NullsAreAbsent):
    model: str = ""


class GenerationBody(_LlamaCppBody):
    """The fields that both kinds of generation have.

    Attributes:
      n_predict: tokens to generate at most; 0 computes the prompt and generates nothing; below that, no limit is set.
      n_indent: the answer ends before a line that is indented by fewer characters.
      t_max_predict_ms: from the first token on; then the answer ends, once it has a line break. 0: no limit.
      response_fields: what of an object is wanted, `/` between the names of nested ones; nothing: all of it.
      temperature: None: as `requests.py` says for each route.
    """

    n_predict: int = -1
    n_cmpl: int = 1
    n_indent: int = 0
    t_max_predict_ms: float = 0
    temperature: float | None = None
    top_k: int = 40
    top_p: float = 0.95
    seed: int = -1
    stop: list[str] = Field(default_factory=list)
    stream: bool = False
    response_fields: Annotated[list[str], at_most(_MAX_RESPONSE_FIELDS)] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if isinstance(body, dict):
            for name, neutral in _UNSUPPORTED.items():
                if (value := body.get(name)) is not None and not any(value == same for same in neutral):
                    raise FieldError(
                        Reason.UNSUPPORTED_PARAMETER,
                        name,
                        "is not supported here, and would change the answer. Leave it out.",
                    )
        return body


class ExtraChunk(NullsAreAbsent):
    """A piece of another file."""

    text: str
    filename: str = ""


class InfillBody(GenerationBody):
    """`POST /infill`; `prompt` is the line of the cursor, up to the cursor."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[ExtraChunk], at_most(MAX_CONTEXT_FILES)] = Field(default_factory=list)
    prompt: str = ""


class CompletionBody(GenerationBody):
    """`POST /completion`."""

    prompt: Annotated[str | list[int], PlainValidator(_text_or_ids)]


class TokenizeBody(_LlamaCppBody):
    """`POST /tokenize`.

    Attributes:
      add_special: begin with BOS.
      parse_special: control tokens written in the text are control tokens.
      with_pieces: say the text of each token, too.
    """

    content: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeBody(_LlamaCppBody):
    """`POST /detokenize`."""

    tokens: list[int]
