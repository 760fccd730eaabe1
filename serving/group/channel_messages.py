"""The messages between a leader and its hosts, as MessagePack: reading one runs no code of the sender."""

import msgspec

from sharding.step import Row, Token


class LoadAdapter(msgspec.Struct, frozen=True):
    """Sent by the leader between two plans: an adapter that every host has read takes its place in the runner.

    Attributes:
      number: its place, as `Opening.adapter` has it.
      name: of the adapter.
      version: of its contents.
      read: which of the leader's readings brought it into the memory of the hosts.
    """

    number: int
    name: str
    version: str
    read: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The host takes this leader, and waits for its plans."""


class Landed(msgspec.Struct, frozen=True, tag="landed"):
    """A step has landed on the host.

    Attributes:
      recompilations: of the host, so far.
      tokens: each row's targets, then those that it drew, from the first host; nothing from the others.
    """

    recompilations: int
    tokens: list[list[Token]]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """A failed step, and the last message of the host."""

    error: str


encode = msgspec.msgpack.Encoder().encode
decode_from_leader = msgspec.msgpack.Decoder[list[Row] | LoadAdapter](list[Row] | LoadAdapter).decode
decode_from_host = msgspec.msgpack.Decoder[Ready | Landed | Failure](Ready | Landed | Failure).decode
