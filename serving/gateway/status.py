"""ModelStatus: how it stands with a model's replica groups, as one Gateway sees them; nothing of any request."""

from dataclasses import dataclass
from enum import StrEnum

from serving.config import ModelConfig


class GroupState(StrEnum):
    """What a Gateway makes of a replica group."""

    READY = "ready"
    """Takes requests."""
    UNREACHABLE = "unreachable"
    """Ray Serve says that it runs; there is no link to it now. It is tried again twice a second."""
    FAILED = "failed"
    """Takes nothing more: a step failed, or it is about to stop."""
    LEAVING = "leaving"
    """Finishes what it has; Ray Serve no longer counts it."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A replica group.

    Attributes:
      id: of the replica, as Ray Serve names it.
      requests: of all Gateways in the group, those that wait there included.
    """

    id: str
    state: GroupState
    requests: int


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """The groups of a model, and how many requests wait for them.

    Attributes:
      waiting: requests that wait in this Gateway for a group with room.
    """

    waiting: int = 0
    groups: tuple[GroupStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model of the configuration and its groups."""

    config: ModelConfig
    backend: BackendStatus
