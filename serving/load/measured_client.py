"""MeasuredClient: a client that remembers what came of what it asked."""

import asyncio
import time
from contextlib import aclosing

from serving.gateway.request import FimPrompt
from serving.load.ask import Ask, Outcome
from serving.load.client import Client, RefusedError


class MeasuredClient:
    """Asks through a client, for all developers, and keeps the outcomes on the clock of the load.

    Attributes:
      outcomes: of the requests that have ended.
      over: whether the load has ended; what is cancelled then was not cancelled by a developer.
    """

    def __init__(self, client: Client) -> None:
        self.outcomes: list[Outcome] = []
        self.over = False
        self._client = client
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since the beginning of the load."""
        return time.monotonic() - self._began

    async def ask(self, ask: Ask) -> str:
        """Sends a request, notes what came of it, and returns the text that came."""
        started_s = self.elapsed_s
        first_s: float | None = None
        pieces: list[str] = []
        end = "complete"
        try:
            async with aclosing(self._client.answer(ask)) as answer:
                async for piece in answer:
                    if piece:
                        first_s = first_s or self.elapsed_s - started_s
                        pieces.append(piece)
        except RefusedError as error:
            end = str(error)
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        finally:
            if not self.over:
                self.outcomes.append(
                    Outcome(
                        kind="typing" if isinstance(ask.prompt, FimPrompt) else "chat",
                        started_s=started_s,
                        first_s=first_s,
                        total_s=self.elapsed_s - started_s,
                        pieces=len(pieces),
                        end=end,
                    )
                )
        return "".join(pieces)
