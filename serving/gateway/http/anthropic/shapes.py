"""What Anthropic's Messages API answers, for the description of it."""

from typing import Literal, NotRequired, TypedDict


class ErrorDetail(TypedDict):
    """What is wrong."""

    type: str
    message: str


class Error(TypedDict):
    """What comes in place of an answer, or last in a stream."""

    type: Literal["error"]
    error: ErrorDetail


class Text(TypedDict):
    """The text of a message."""

    type: Literal["text"]
    text: str


class Usage(TypedDict):
    """Tokens. Those of the input are without those that were not computed again."""

    input_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    output_tokens: int


StopReason = Literal["end_turn", "max_tokens"]


class Message(TypedDict):
    """What the model says."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Text]
    stop_reason: StopReason | None
    stop_sequence: None
    usage: Usage


class Delta(TypedDict):
    """What a message grows by, or why it ends."""

    type: NotRequired[Literal["text_delta"]]
    text: NotRequired[str]
    stop_reason: NotRequired[StopReason | None]
    stop_sequence: NotRequired[None]


class Event(TypedDict):
    """An event by which a message grows; its `type` is the name of the event, and says which other fields it has."""

    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    ]
    index: NotRequired[int]
    message: NotRequired[Message]
    content_block: NotRequired[Text]
    delta: NotRequired[Delta]
    usage: NotRequired[Usage]


class Counted(TypedDict):
    """Tokens of a conversation."""

    input_tokens: int
