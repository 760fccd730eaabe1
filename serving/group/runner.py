"""GroupRunner: what a leader needs of its hosts, be they this process or others."""

from typing import Protocol

from serving.engine.runner import Runner


class GroupRunner(Runner, Protocol):
    """An engine's `Runner` with the life of a group's hosts."""

    @property
    def recompilations(self) -> int:
        """Compilations since the runner was ready; anything but 0 is a bug."""
        ...

    async def check(self) -> None:
        """Raises what is wrong with a host, within seconds; if it is dead, as Ray raises it, for Ray Serve to see."""
        ...

    def close(self) -> None:
        """Ends the hosts and gives back what was reserved for them."""
        ...
