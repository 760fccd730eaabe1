"""Attack: one hostile input, and what is wrong with how the service took it."""

from typing import Protocol

from tests.abuse.target import Target


class Attack(Protocol):
    """One input.

    Attributes:
      about: what is hostile in it, in a few words.
    """

    @property
    def about(self) -> str: ...

    async def faults(self, target: Target) -> list[str]:
        """Sends it, and says what is wrong with the answer; nothing if it is as it must be."""
        ...
