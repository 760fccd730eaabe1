"""What a run prints: lines with the seconds since its start."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.5


class OverdueError(Exception):
    """Something that took too long."""


class Clock:
    """Time and progress of a run."""

    def __init__(self) -> None:
        """Starts now."""
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Prints a text, line by line."""
        for line in text.splitlines():
            print(f"{time.monotonic() - self._start:6.1f} s  {line}", flush=True)

    async def until(
        self, text: str, done: Callable[[], Awaitable[bool]], describe: Callable[[], str], limit_s: float
    ) -> None:
        """Waits until something is done, and prints how far it is whenever that changes.

        Raises:
          OverdueError: it takes longer than the limit.
        """
        started, last = time.monotonic(), ""
        while not await done():
            if time.monotonic() - started > limit_s:
                raise OverdueError(f"not within {limit_s:.0f} s: {text}\n{describe()}")
            if (now := describe()) != last:
                self.say(now)
                last = now
            await asyncio.sleep(_POLL_S)
        self.say(f"{text}: {time.monotonic() - started:.1f} s")
