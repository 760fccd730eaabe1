"""GroupRunner: what a leader needs of its hosts, be they this process or others."""

from typing import Protocol

from serving.engine.adapters import AdapterSource
from serving.engine.runner import Runner


class GroupAdapterSource(AdapterSource, Protocol):
    """An engine's `AdapterSource` over an `AdapterDirectory` of this process."""

    @property
    def age_s(self) -> float:
        """As `AdapterDirectory.age_s`."""
        ...

    async def look(self, name: str) -> str:
        """As `AdapterDirectory.look`."""
        ...


class GroupRunner(Runner, Protocol):
    """An engine's `Runner` with the life of a group's hosts."""

    @property
    def adapters(self) -> GroupAdapterSource | None:
        """Where the adapters of its model come from; None if it has none."""
        ...

    @property
    def recompilations(self) -> int:
        """Compilations since the runner was ready; anything but 0 is a bug."""
        ...

    @property
    def step_limit_s(self) -> float:
        """How long the slowest device takes to read its part of the weights, at the bandwidth measured at start.

        A step reads all of them; how much longer it takes tells how well the devices' memory is used.
        """
        ...

    async def check(self) -> None:
        """Ends within seconds. Raises what is wrong with a host; when it is dead, what Ray raises, for Ray Serve."""
        ...

    def close(self) -> None:
        """Ends the hosts and gives back what was reserved for them."""
        ...
