"""The outcome of reading an adapter, without JAX: a leader of several hosts has none."""

from pathlib import Path
from typing import NamedTuple

from serving.engine.errors import AdapterUnusable
from sharding.adapters.adapter import AdapterError


class Reading(NamedTuple):
    """The result of reading an adapter on one of several hosts.

    Attributes:
      fault: why it cannot be loaded; empty if it can.
      is_same: whether its contents here are those that the leader has.
    """

    fault: str = ""
    is_same: bool = True


def unusable(path: Path, error: AdapterError) -> AdapterUnusable:
    """The error for clients: it names no directory of this machine."""
    return AdapterUnusable(str(error).replace(f"{path}/", "").replace(str(path), path.name))
