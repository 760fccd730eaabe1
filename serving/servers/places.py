"""Places: a limited number of waiting places, of which a newcomer takes that of the longest waiter.

Clients that need no key to wait must not wait without a limit, nor keep others out by coming first.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class DisplacedError(TimeoutError):
    """A newcomer took the place: the wait is over."""


class Places:
    """A number of places to wait at, in one event loop."""

    def __init__(self, number: int) -> None:
        """All are free."""
        self._number = number
        self._taken: dict[asyncio.Timeout, None] = {}  # the oldest first

    @asynccontextmanager
    async def taken(self, within_s: float | None = None) -> AsyncIterator[None]:
        """Has a place for as long as the block runs, which has to wait for something all that time.

        Args:
          within_s: the longest that it may take.

        Raises:
          DisplacedError: a newcomer took the place.
          TimeoutError: the time is over.
        """
        if len(self._taken) >= self._number:
            oldest = next(iter(self._taken))
            del self._taken[oldest]
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())
        limit = asyncio.timeout(within_s)
        displaced = False
        try:
            async with limit:
                self._taken[limit] = None
                try:
                    yield
                finally:
                    displaced = limit not in self._taken
                    self._taken.pop(limit, None)
        except TimeoutError:
            if displaced and limit.expired():
                raise DisplacedError from None
            raise
