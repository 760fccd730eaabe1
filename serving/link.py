"""The link between a Gateway and a replica group: its address and its messages.

A Gateway has one link to each group of a model: a WebSocket whose binary messages are MessagePack. It carries all
requests between the two, so that a token of sixteen requests costs one message and not sixteen. Reading a message runs
no code of the sender.
"""

from typing import Any

import msgspec

from serving.engine.request import GenerationChunk, GenerationRequest
from serving.errors import Reason


class GroupAddress(msgspec.Struct, frozen=True):
    """Where a replica group takes links, and the secret that opens one.

    Ray Serve carries it from the leader to the Gateways as the metadata of a replica.
    """

    url: str
    key: str

    def to_metadata(self) -> dict[str, Any]:
        """What `record_replica_metadata` returns."""
        return msgspec.structs.asdict(self)


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """A request to generate."""

    request: GenerationRequest


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """The answer to this request is no longer wanted."""

    request_id: str


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """How many requests wait in this Gateway for a row in any group of the model; replaces what it said before."""

    requests: int


type ToGroup = Submit | Abort | Waiting
"""A message has some of them, in order: what there is to say to a group at one moment."""


class Refusal(msgspec.Struct, frozen=True):
    """A request that the group did not take: the fields of a `ServingError`."""

    request_id: str
    reason: Reason
    message: str
    retry_after_s: float | None


class FromGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell a Gateway at one moment, mostly after a step.

    Attributes:
      load: requests of all Gateways in the group.
      taken: how many `Submit`s have come over this link.
      chunks: of each request in order.
      adapters: that the group has in memory; None: as it said before.
    """

    load: int
    taken: int
    chunks: list[tuple[str, GenerationChunk]] = []
    refusals: list[Refusal] = []
    adapters: list[str] | None = None


encode = msgspec.msgpack.Encoder().encode
decode_to_group = msgspec.msgpack.Decoder(list[Submit | Abort | Waiting]).decode
decode_from_group = msgspec.msgpack.Decoder(FromGroup).decode
