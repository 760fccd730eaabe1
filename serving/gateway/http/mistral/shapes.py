"""What Mistral's fill-in-the-middle answers, for the description of it."""

from typing import Literal, NotRequired, TypedDict

FinishReason = Literal["stop", "length"]


class Error(TypedDict):
    """What comes in place of an answer, or last in a stream. `code` is the HTTP status."""

    object: Literal["error"]
    message: str
    type: str
    param: str | None
    code: str


class PromptTokensDetails(TypedDict):
    """`cached_tokens` of the prompt were not computed again."""

    cached_tokens: int


class Usage(TypedDict):
    """Tokens of the whole request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Message(TypedDict):
    """What is filled in."""

    role: Literal["assistant"]
    content: str
    tool_calls: None


class Choice(TypedDict):
    """The only answer."""

    index: int
    message: Message
    finish_reason: FinishReason


class Completion(TypedDict):
    """What is filled in, as the answer of a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(TypedDict):
    """What a message grows by."""

    role: NotRequired[Literal["assistant"]]
    content: str


class ChunkChoice(TypedDict):
    """A piece of the only answer."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None


class Chunk(TypedDict):
    """A piece; the last one has the usage."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[Usage]
