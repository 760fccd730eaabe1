"""FailedAttempts: counts requests without a valid key or token, and has an address with many of them wait."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, get_args

from serving.errors import Reason, ServingError
from serving.telemetry import metrics
from serving.telemetry.recorder import Recorder

_log = logging.getLogger("ray.serve.access")  # below Ray Serve's logger, whose handlers write the log

PER_MINUTE = 60
"""Of one address, each of which learns why. A valid key is never refused: others may have the same address."""
_WINDOW_S = 60.0
_MAX_ADDRESSES = 10_000
"""Counted apart; what comes from others is counted as if it came from one address."""
_ADDRESS_CHARACTERS = 64


Why = Literal[
    "no_key",
    "unknown_key",
    "malformed",
    "algorithm",
    "issuer",
    "signature",
    "expired",
    "not_yet_valid",
    "audience",
    "claim",
]
"""A key or a token is not valid; `unknown_key` is an API key or the key that a token names."""


class UnauthenticatedError(ServingError):
    """A call without a valid key or token.

    Attributes:
      why: for the metric; never a part of what was sent.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(Reason.UNAUTHENTICATED, message)
        self.why = why


class FailedAttempts:
    """Failed attempts of this minute, by the address they came from; nothing waits here, so nothing is held."""

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins every counter at 0, so that Prometheus sees the first increase."""
        self._recorder = recorder
        for why in get_args(Why):
            recorder.record(metrics.FAILED_ATTEMPTS, 0, reason=why)
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._ends_at = clock() + _WINDOW_S

    def count(self, error: UnauthenticatedError, address: str) -> ServingError:
        """Counts a failed attempt.

        Args:
          error: why it failed.
          address: where it came from; empty if that is not known.

        Returns:
          What to answer: `error`, or RATE_LIMIT_EXCEEDED after too many from this address.
        """
        self._recorder.record(metrics.FAILED_ATTEMPTS, 1, reason=error.why)
        now, address = self._clock(), address[:_ADDRESS_CHARACTERS]
        if now >= self._ends_at:
            self._counts.clear()
            self._ends_at = now + _WINDOW_S
        if address not in self._counts and len(self._counts) >= _MAX_ADDRESSES:
            address = "others"
        self._counts[address] += 1
        if self._counts[address] <= PER_MINUTE:
            return error
        if self._counts[address] == PER_MINUTE + 1:
            _log.warning("more than %d failed attempts within a minute from %s", PER_MINUTE, address or "somewhere")
        wait_s = self._ends_at - now
        return ServingError(
            Reason.RATE_LIMIT_EXCEEDED,
            f"There were more than {PER_MINUTE} requests without a valid key or token from this address within a "
            f"minute. {error.message} The next one that fails is looked at in {wait_s:.0f} s; a valid one at once.",
            retry_after_s=wait_s,
        )
