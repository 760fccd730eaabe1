"""What `/v1/status` answers, for the description of it."""

from typing import TypedDict


class Group(TypedDict):
    """A replica group, and the requests that it has."""

    id: str
    state: str
    requests: int


class ModelStatus(TypedDict):
    """A model's groups and what waits for them."""

    id: str
    waiting: int
    max_waiting: int
    rows_per_group: int
    min_groups: int
    max_groups: int
    groups: list[Group]


class Status(TypedDict):
    """All models."""

    models: list[ModelStatus]
