"""Quotas: admits requests whose tenant and key have not used up what they may ask for."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import NamedTuple, get_args

from redis.exceptions import RedisError

from serving.access.config import QuotaConfig, QuotasConfig
from serving.config import GatewayConfig
from serving.errors import Reason, ServingError
from serving.gateway.quotas.ledger import Account, Ledger, Limit, Refusal
from serving.gateway.quotas.memory import MemoryLedger
from serving.gateway.quotas.redis import RedisLedger
from serving.gateway.request import CodeRequest
from serving.telemetry import metrics
from serving.telemetry.recorder import NoRecorder, Recorder

_log = logging.getLogger("ray.serve.quotas")  # below Ray Serve's logger, whose handlers write the log

_NOT_ASKED_S = 5.0
"""After a store did not answer: not every request waits to find that out."""
_LOG_EVERY_S = 60.0
_LEASE_S = 60.0
"""Beyond the longest that a request may take."""
_DEFAULT_WAIT_S = 1.0
_CLOSE_S = 2.0
_FAULTS = (RedisError, OSError, TimeoutError)


class QuotaError(ServingError):
    """A request beyond a limit.

    Attributes:
      limit: the name of the limit in the configuration.
      whose: `tenant` or `key`, and its name.
    """

    def __init__(self, limit: str, whose: str, message: str, retry_after_s: float) -> None:
        super().__init__(Reason.RATE_LIMIT_EXCEEDED, message, retry_after_s=retry_after_s)
        self.limit = limit
        self.whose = whose


class ContextLimit(NamedTuple):
    """The most tokens of one request, prompt and answer together, and whose limit that is if not its model's."""

    tokens: int
    whose: str = ""

    def __str__(self) -> str:
        return f"{self.tokens} tokens{self.whose}"


@dataclass(frozen=True, slots=True)
class _Share:
    """What one tenant or key may ask for."""

    kind: str
    name: str
    quota: QuotaConfig

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r}"

    @property
    def account(self) -> Account:
        quota = self.quota
        name = f"{self.kind}:{self.name}"
        return Account(name, quota.requests_per_minute, quota.tokens_per_minute, quota.concurrent_requests)

    @property
    def is_counted(self) -> bool:
        quota = self.quota
        return any((quota.requests_per_minute, quota.tokens_per_minute, quota.concurrent_requests))


class Quotas:
    """The limits of all tenants and keys."""

    def __init__(
        self,
        config: QuotasConfig,
        ledger: Ledger,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins every counter at 0, so that Prometheus sees the first increase."""
        self._config = config
        self._has_limits = config != QuotasConfig(redis=config.redis)
        self._ledger = ledger
        self._recorder = recorder or NoRecorder()
        for limit in get_args(Limit):
            for whose in ("key", "tenant"):
                self._recorder.record(metrics.LIMITED, 0, limit=limit, whose=whose)
        self._recorder.record(metrics.UNCOUNTED, 0)
        self._clock = clock
        self._ending: set[asyncio.Task[None]] = set()  # or they might be collected; `close` waits for them
        self._is_lost = False
        self._asked_again_at = self._logged_again_at = -float("inf")

    def context(self, request: CodeRequest, max_context: int) -> ContextLimit:
        """The most tokens that prompt and answer of a request may have: the model's limit or a lower one.

        A minute's tokens are such a limit, too: a request that may take more could never be admitted.
        """
        limits = [ContextLimit(max_context)]
        for share in self._shares(request):
            for name, tokens in (
                ("context", share.quota.context),
                ("tokens_per_minute", share.quota.tokens_per_minute),
            ):
                if tokens is not None:
                    limits.append(ContextLimit(tokens, f" for {share} ({name})"))
        return min(limits, key=lambda limit: limit.tokens)

    @asynccontextmanager
    async def admitted(self, request: CodeRequest) -> AsyncIterator["Admission"]:
        """Counts a request for as long as the block runs, and its tokens for a minute.

        Raises:
          QuotaError: its tenant or key has reached a limit.
        """
        shares = [share for share in self._shares(request) if share.is_counted]
        admission = Admission(self, shares)
        if shares:
            try:
                await admission.begin()
            except asyncio.CancelledError:  # by when the ledger may have counted it
                await self._end(admission)
                raise
        try:
            yield admission
        finally:
            if shares:
                await self._end(admission)

    async def _end(self, admission: "Admission") -> None:
        """Ends it in the ledger, to the end, though the task that calls may be cancelled meanwhile.

        It is on its way before the answer's end, after which the client may come with its next request, which the
        ledger learns of later. To wait for the ledger as well would make every answer later by that.
        """
        waits = self._ledger.is_busy
        ending = asyncio.Task(admission.end(), loop=asyncio.get_running_loop(), eager_start=True)
        if not ending.done():
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if waits:
            await asyncio.shield(ending)

    async def close(self) -> None:
        """Waits until the ledger has the ends of requests, two seconds at most; without, they count for their lease."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSE_S)

    def _shares(self, request: CodeRequest) -> list[_Share]:
        if not self._has_limits:
            return []
        config, shares = self._config, []
        if request.key:
            shares.append(_Share("key", request.key, config.keys.get(request.key, config.per_key)))
        if request.tenant or not request.key:  # without a tenant, a key is counted as itself alone
            shares.append(_Share("tenant", request.tenant, config.tenants.get(request.tenant, config.per_tenant)))
        return shares

    async def ask(self, question: Callable[[Ledger], Awaitable[Refusal | None]]) -> Refusal | None:
        """Asks the ledger; None if it does not answer, too: a lost store must not take the service with it."""
        now = self._clock()
        if now >= self._asked_again_at:
            if self._is_lost:
                self._asked_again_at = now + _NOT_ASKED_S  # one request finds out whether it answers again
            try:
                refusal = await question(self._ledger)
            except _FAULTS as error:
                self._is_lost = True
                self._asked_again_at = now + _NOT_ASKED_S
                if now >= self._logged_again_at:
                    self._logged_again_at = now + _LOG_EVERY_S
                    _log.error("requests go uncounted, as the store of gateway.quotas does not answer: %s", error)
            else:
                self._is_lost = False
                self._asked_again_at = -float("inf")
                return refusal
        self._recorder.record(metrics.UNCOUNTED, 1)
        return None

    def refuse(self, refusal: Refusal, share: _Share, tokens: int = 0) -> QuotaError:
        """The error of a refusal."""
        limit, wait_s = refusal.limit, refusal.wait_s or _DEFAULT_WAIT_S
        value = getattr(share.quota, limit)
        self._recorder.record(metrics.LIMITED, 1, limit=limit, whose=share.kind)
        match limit:
            case "requests_per_minute":
                fault = "and that many came within the last minute"
            case "tokens_per_minute":
                fault = f"of which {refusal.left} are left, and prompt and answer may take {tokens}"
            case "concurrent_requests":
                fault = "and that many are being answered"
        return QuotaError(
            limit,
            f"{share.kind} {share.name}",
            f"{limit} of {share} is {value}, {fault}. Try again in {max(wait_s, 0.1):.1f} s.",
            wait_s,
        )


class Admission:
    """A request that was admitted.

    Attributes:
      used: tokens that it took so far, prompt and answer together.
    """

    def __init__(self, quotas: Quotas, shares: list[_Share]) -> None:
        self.used = 0
        self._quotas = quotas
        self._shares = shares
        self._accounts = [share.account for share in shares]
        self._id = token_hex(16)
        self._is_refused = False

    async def begin(self) -> None:
        """Counts it.

        Raises:
          QuotaError: a limit on requests.
        """
        refusal = await self._quotas.ask(lambda ledger: ledger.begin(self._id, self._accounts))
        if refusal:
            raise self._quotas.refuse(refusal, self._shares[refusal.account])

    async def reserve(self, tokens: int) -> None:
        """Counts the most tokens that it may take: those of the prompt and as many as it may generate.

        What it does not take is given back at its end, so that a minute's tokens are never exceeded by what is running.

        Raises:
          QuotaError: a limit on tokens.
          ServingError: INVALID_ARGUMENT if it could never be admitted.
        """
        for share in self._shares:
            limit = share.quota.tokens_per_minute
            if limit is not None and tokens > limit:
                raise ServingError(
                    Reason.INVALID_ARGUMENT,
                    f"Prompt and answers may take {tokens} tokens, and tokens_per_minute of {share} is {limit}. Ask "
                    "for fewer choices, or for fewer tokens.",
                )
        if any(share.quota.tokens_per_minute for share in self._shares):
            refusal = await self._quotas.ask(lambda ledger: ledger.reserve(self._id, self._accounts, tokens))
            if refusal:
                self._is_refused = True
                raise self._quotas.refuse(refusal, self._shares[refusal.account], tokens)
            self._is_refused = False

    async def end(self) -> None:
        """Counts what it took; a request that was refused leaves no trace."""

        async def end(ledger: Ledger) -> None:
            await ledger.end(self._id, self._accounts, None if self._is_refused else self.used)

        await self._quotas.ask(end)


def quotas_for(gateway: GatewayConfig, recorder: Recorder | None = None) -> Quotas:
    """Those of the configuration."""
    config = gateway.quotas or QuotasConfig()
    if config.redis is None:
        return Quotas(config, MemoryLedger(), recorder)
    return Quotas(config, RedisLedger(config.redis, gateway.request_timeout_s + _LEASE_S), recorder)
