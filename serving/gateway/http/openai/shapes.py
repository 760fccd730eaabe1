"""What OpenAI's API answers, for the description of it."""

from typing import Any, Literal, NotRequired, TypedDict

FinishReason = Literal["stop", "length"]


class ErrorDetail(TypedDict):
    """`code` is one of this service's reasons, `param` the field at fault."""

    message: str
    type: str
    param: str | None
    code: str


class Error(TypedDict):
    """What comes in place of an answer, or last in a stream."""

    error: ErrorDetail


class Model(TypedDict):
    """A model; `fim` says how it fills in, `null` that it does not."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: list[str]
    roles: list[str]
    fim: Literal["native", "prefix"] | None
    context_length: int
    max_model_len: int
    version: str


class Models(TypedDict):
    """All models."""

    object: Literal["list"]
    data: list[Model]


class PromptTokensDetails(TypedDict):
    """`cached_tokens` of the prompt were not computed again."""

    cached_tokens: int


class Usage(TypedDict):
    """Tokens of the whole request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class CompletionLogprobs(TypedDict):
    """Lists with an item for each token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """A completion, or a piece of one."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None


class Completion(TypedDict):
    """All completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage


class CompletionChunk(TypedDict):
    """A piece; with `stream_options.include_usage`, at last one without choices that has the usage."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: NotRequired[Usage | None]


class TopLogprob(TypedDict):
    """A token that could have stood there."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    """Of each token."""

    content: list[TokenLogprob]
    refusal: None


class Message(TypedDict):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(TypedDict):
    """An answer."""

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(TypedDict):
    """All answers."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class Delta(TypedDict):
    """What a message grows by."""

    role: NotRequired[Literal["assistant"]]
    content: str


class ChatChunkChoice(TypedDict):
    """A piece of an answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(TypedDict):
    """A piece; with `stream_options.include_usage`, at last one without choices that has the usage."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage | None]


class OutputText(TypedDict):
    """The text."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(TypedDict):
    """The message."""

    type: Literal["message"]
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputText]


class CachedTokens(TypedDict):
    """Of the input, what was not computed again."""

    cached_tokens: int


class ReasoningTokens(TypedDict):
    """None."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens of the request."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Response(TypedDict):
    """An answer that nothing is kept of."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete"]
    error: None
    incomplete_details: dict[str, str] | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool
    previous_response_id: None
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str
    tools: list[Any]
    top_p: float
    truncation: str
    usage: ResponseUsage | None


class ResponseEvent(TypedDict):
    """An event by which a response grows; its `type` is the name of the event, and says which other fields it has."""

    type: str
    sequence_number: int
    response: NotRequired[Response]
    item_id: NotRequired[str]
    output_index: NotRequired[int]
    content_index: NotRequired[int]
    item: NotRequired[OutputMessage]
    part: NotRequired[OutputText]
    delta: NotRequired[str]
    text: NotRequired[str]
    logprobs: NotRequired[list[Any]]
    code: NotRequired[str]
    message: NotRequired[str]
    param: NotRequired[str | None]
    error: NotRequired[ErrorDetail]
