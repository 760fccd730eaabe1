"""What Ollama answers, for the description of its API."""

from typing import Any, Literal, NotRequired, TypedDict


class Error(TypedDict):
    """What comes in place of an answer, or last in a stream."""

    error: str


class Version(TypedDict):
    """The version of Ollama whose API this is."""

    version: str


class ListedModel(TypedDict):
    """A model."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: dict[str, Any]


class Tags(TypedDict):
    """All models."""

    models: list[ListedModel]


class RunningModel(ListedModel):
    """A model that answers."""

    expires_at: str
    size_vram: int
    context_length: int


class Running(TypedDict):
    """All models that answer."""

    models: list[RunningModel]


class ShownModel(TypedDict):
    """What a model can do, and how it is asked."""

    modelfile: str
    parameters: str
    template: str
    details: dict[str, Any]
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Token(TypedDict):
    """A token and its log probability."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: NotRequired[list["Token"]]


class _Answer(TypedDict):
    """Has the counts, and times in nanoseconds, if it is the last object and not that of a model that was loaded."""

    model: str
    created_at: str
    done: bool
    done_reason: NotRequired[Literal["stop", "length", "load"]]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    prompt_eval_duration: NotRequired[int]
    eval_count: NotRequired[int]
    eval_duration: NotRequired[int]
    logprobs: NotRequired[list[Token]]


class Generated(_Answer):
    """Text, or a piece of it. Counts, and times in nanoseconds, come with the end."""

    response: str


class Message(TypedDict):
    """What the model says."""

    role: Literal["assistant"]
    content: str


class Said(_Answer):
    """A message, or a piece of it. Counts, and times in nanoseconds, come with the end."""

    message: Message
