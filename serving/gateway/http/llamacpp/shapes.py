"""What llama.cpp's server answers, for the description of its API."""

from typing import Any, TypedDict


class ErrorDetail(TypedDict):
    """`code` is the HTTP status."""

    code: int
    message: str
    type: str


class Error(TypedDict):
    """What comes in place of an answer, or last in a stream."""

    error: ErrorDetail


class Timings(TypedDict):
    """How long the parts of an answer took."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class Completion(TypedDict, total=False):
    """A completion, or a piece of one; of that only `index`, `content` and `stop`.

    With `response_fields`, what these name, those of nested objects at the root: `timings/prompt_n`.
    """

    index: int
    content: str
    stop: bool
    stop_type: str
    stopping_word: str
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    truncated: bool
    timings: Timings


Completions = Completion | list[Completion]
"""One; with `n_cmpl`, several."""


class Piece(TypedDict):
    """A token, with its bytes if it is a part of a character."""

    id: int
    piece: str | list[int]


class Tokens(TypedDict):
    """A text in tokens."""

    tokens: list[int] | list[Piece]
    count: int
    max_model_len: int


class TokenizerInfo(TypedDict):
    """Control tokens."""

    bos_token: str
    eos_token: str


class Content(TypedDict):
    """The text of tokens, by llama.cpp's name for it and by vLLM's."""

    content: str
    prompt: str


class Prompt(TypedDict):
    """A conversation as a raw prompt."""

    prompt: str


class Props(TypedDict):
    """The model that fills in."""

    default_generation_settings: dict[str, Any]
    model_path: str
    model_alias: str
    modalities: dict[str, bool]
    bos_token: str
    eos_token: str
    build_info: str
