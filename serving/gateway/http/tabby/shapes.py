"""What Tabby's server answers, for the description of its API."""

from typing import Any, TypedDict


class Error(TypedDict):
    """What comes in place of an answer."""

    error: str


class Health(TypedDict):
    """The models, and nothing of the machine."""

    model: str | None
    chat_model: str | None
    device: str
    arch: str
    cpu_info: str
    cpu_count: int
    cuda_devices: list[Any]
    version: dict[str, str]


class ServerSetting(TypedDict):
    """What the server wants of an agent."""

    disable_client_side_telemetry: bool


class Choice(TypedDict):
    """A completion."""

    index: int
    text: str


class Completion(TypedDict):
    """All of them; events name it by its `id`."""

    id: str
    choices: list[Choice]


class Counted(TypedDict):
    """Nothing."""
