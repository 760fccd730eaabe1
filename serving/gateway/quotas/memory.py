"""MemoryLedger: a ledger of one Gateway, in its memory."""

import time
from collections.abc import Callable, Sequence

from serving.gateway.quotas.ledger import WINDOW_S, Account, Limit, Refusal


class MemoryLedger:
    """Implements `Ledger`. Nothing is kept of an account that has used nothing within a minute and uses nothing.

    Attributes:
      used: what is kept, by the names of accounts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.used: dict[str, Used] = {}
        self._forget_at = clock() + WINDOW_S

    @property
    def is_busy(self) -> bool:
        """As `Ledger.is_busy`: it waits for nothing."""
        return False

    async def begin(self, request: str, accounts: Sequence[Account]) -> Refusal | None:
        """As `Ledger.begin`."""
        now = self._clock()
        self._forget(now)
        all_used = [self.used.setdefault(account.name, Used()) for account in accounts]
        for position, (account, used) in enumerate(zip(accounts, all_used, strict=True)):
            used.expire(now)
            if account.concurrent is not None and len(used.running) >= account.concurrent:
                return Refusal(position, "concurrent_requests", 0, None)
            if account.requests is not None and len(used.entries) >= account.requests:
                return used.refusal(position, "requests_per_minute", 0, 1, now)
        for used in all_used:
            used.entries[request] = (now, 0)
            used.running.add(request)
        return None

    async def reserve(self, request: str, accounts: Sequence[Account], tokens: int) -> Refusal | None:
        """As `Ledger.reserve`."""
        now = self._clock()
        all_used = [self.used.setdefault(account.name, Used()) for account in accounts]
        for position, (account, used) in enumerate(zip(accounts, all_used, strict=True)):
            used.expire(now)
            used.set_tokens(request, 0)
            if account.tokens is not None and used.tokens + tokens > account.tokens:
                left = account.tokens - used.tokens
                return used.refusal(position, "tokens_per_minute", left, tokens - left, now)
        for used in all_used:
            used.set_tokens(request, tokens)
        return None

    async def end(self, request: str, accounts: Sequence[Account], tokens: int | None) -> None:
        """As `Ledger.end`."""
        for account in accounts:
            if used := self.used.get(account.name):
                used.running.discard(request)
                used.set_tokens(request, tokens or 0)
                if tokens is None:
                    used.entries.pop(request, None)

    def _forget(self, now: float) -> None:
        """Once a minute, the accounts of which nothing is left."""
        if now < self._forget_at:
            return
        self._forget_at = now + WINDOW_S
        for used in self.used.values():
            used.expire(now)
        self.used = {name: used for name, used in self.used.items() if used.entries or used.running}


class Used:
    """What an account has used.

    Attributes:
      entries: the requests that were begun within a minute, in that order: when, and their tokens.
      tokens: of all of them.
      running: those that have not ended.
    """

    __slots__ = ("entries", "running", "tokens")

    def __init__(self) -> None:
        self.entries: dict[str, tuple[float, int]] = {}
        self.tokens = 0
        self.running: set[str] = set()

    def expire(self, now: float) -> None:
        while self.entries and (first := next(iter(self.entries))) and self.entries[first][0] <= now - WINDOW_S:
            self.tokens -= self.entries.pop(first)[1]

    def set_tokens(self, request: str, tokens: int) -> None:
        """Changes the tokens of a request, unless it was begun more than a minute ago."""
        if entry := self.entries.get(request):
            self.entries[request] = (entry[0], tokens)
            self.tokens += tokens - entry[1]

    def refusal(self, account: int, limit: Limit, left: int, missing: int, now: float) -> Refusal:
        """With the time until `missing` requests or tokens have become older than a minute."""
        freed = 0
        for began_at, tokens in self.entries.values():
            freed += tokens if limit == "tokens_per_minute" else 1
            if freed >= missing:
                return Refusal(account, limit, left, began_at + WINDOW_S - now)
        return Refusal(account, limit, left, WINDOW_S)
