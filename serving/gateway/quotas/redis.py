"""RedisLedger: a ledger that all Gateways have in common."""

import asyncio
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError

from serving.gateway.quotas.ledger import Account, Limit, Refusal

PASSWORD_VARIABLE = "CODEGEMMA_QUOTAS_REDIS_PASSWORD"
TIMEOUT_S = 1.0
"""That a request waits for Redis at most, before it goes on uncounted; a busy event loop is not a lost Redis."""
_MAX_CONNECTIONS = 8
"""A call takes some 0.1 ms of Redis, which runs one at a time: requests wait for each other here rather than there."""

_SCRIPT = Path(__file__).with_name("ledger.lua")
_LIMITS: tuple[Limit, ...] = get_args(Limit)


class RedisLedger:
    """Implements `Ledger`; raises what `redis` raises when it does not answer."""

    def __init__(self, url: str, lease_s: float) -> None:
        """Connects to nothing yet.

        Args:
          url: `redis://`, `rediss://` or `unix://`, of one server: an account's keys may be on different ones of a
            cluster.
          lease_s: after which a request that has not ended is no longer concurrent, as its Gateway was lost.
        """
        password = os.environ.get(PASSWORD_VARIABLE)
        pool = ConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            **({"password": password} if password else {}),
        )
        self.client: Redis = Redis.from_pool(pool)
        self._lease_ms = round(lease_s * 1000)
        self._turns = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._asking = self._connected = 0  # calls under way, and connections that are known to be there
        self._faults = 0
        self._script = self.client.register_script(_SCRIPT.read_text())

    @property
    def is_busy(self) -> bool:
        """As `Ledger.is_busy`."""
        return self._turns.locked() or self._asking >= self._connected

    async def begin(self, request: str, accounts: Sequence[Account]) -> Refusal | None:
        """As `Ledger.begin`."""
        return await self._run("begin", request, accounts, 0)

    async def reserve(self, request: str, accounts: Sequence[Account], tokens: int) -> Refusal | None:
        """As `Ledger.reserve`."""
        return await self._run("reserve", request, accounts, tokens)

    async def end(self, request: str, accounts: Sequence[Account], tokens: int | None) -> None:
        """As `Ledger.end`."""
        await self._run("end", request, accounts, -1 if tokens is None else tokens)

    async def _run(self, operation: str, request: str, accounts: Sequence[Account], tokens: int) -> Refusal | None:
        parts = ("begun", "tokens", "running")
        keys = [f"codegemma:{part}:{account.name}" for account in accounts for part in parts]
        limits = chain.from_iterable((each.requests, each.tokens, each.concurrent) for each in accounts)
        numbers = [-1 if limit is None else limit for limit in limits]
        refused = await self._asked(keys, [operation, request, tokens, self._lease_ms, *numbers])
        if not refused:
            return None
        account, limit, left, wait_ms = map(int, refused)
        return Refusal(account, _LIMITS[limit - 1], left, wait_ms / 1000 if wait_ms >= 0 else None)

    async def _asked(self, keys: list[str], arguments: list[str | int]) -> Any:
        """What the script returns. To wait for a turn, in a burst, is no sign that Redis is lost; a fault before is."""
        faults = self._faults
        async with self._turns:
            if faults != self._faults:
                raise LostError("it did not answer what was asked before")
            self._asking += 1
            is_answered = False
            try:
                answer = await self._script(keys, arguments)
                is_answered = True
                return answer
            except (RedisError, OSError, TimeoutError):
                self._faults += 1
                raise
            finally:
                # Each call under way has a connection, and the pool gives again what it got last. What is not answered,
                # or given up, loses its connection; which ones are left is found out anew.
                self._connected = max(self._connected, self._asking) if is_answered else 0
                self._asking -= 1
