"""What the engine needs of a model: run steps of a batch, one behind the other."""

from collections.abc import Sequence
from typing import Protocol

from sharding.step import Limits, Row, Token


class Runner(Protocol):
    """Executes steps in the order in which they are launched. `sharding.runner.ModelRunner` is one."""

    @property
    def limits(self) -> Limits: ...

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step behind those launched before, and returns without waiting for any of them."""
        ...

    def land(self) -> list[list[Token]]:
        """Waits for the oldest step that has not landed: the targets of each of its rows, then the tokens it drew."""
        ...
