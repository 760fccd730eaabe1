"""Failed attempts: counted by why, slowed by address, and never in the way of a valid key."""

from pathlib import Path

import pytest

from serving.access.keys import KeyFile
from serving.config import Role
from serving.errors import Reason, ServingError
from serving.gateway.access import BearerAccess
from serving.gateway.access.failed_attempts import PER_MINUTE, FailedAttempts
from serving.telemetry import metrics
from tests.gateway.counts import Counts


class Tried:
    """A service with one key."""

    def __init__(self, directory: Path) -> None:
        file, self.key = KeyFile().with_new("ann", "", tuple(Role))
        file.write(directory / "keys.yaml")
        self.counts = Counts()
        self.now_s = 0.0
        failures = FailedAttempts(self.counts, lambda: self.now_s)
        self.access = BearerAccess(directory / "keys.yaml", failures=failures)

    async def attempt(self, address: str, key: str = "cg_wrong") -> ServingError | None:
        try:
            await self.access.caller("", key, "", address=address)
        except ServingError as error:
            return error
        return None

    async def attempts(self, address: str, times: int) -> list[Reason]:
        errors = [await self.attempt(address) for _ in range(times)]
        return [error.reason for error in errors if error]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    return Tried(tmp_path)


async def test_after_many_failures_an_address_is_told_to_wait(tried: Tried) -> None:
    assert set(await tried.attempts("10.0.0.7", PER_MINUTE)) == {Reason.UNAUTHENTICATED}
    tried.now_s = 20.0
    error = await tried.attempt("10.0.0.7")
    assert error is not None
    assert (error.reason, error.retry_after_s) == (Reason.RATE_LIMIT_EXCEEDED, 40.0)
    assert "API key" in error.message
    assert await tried.attempts("10.0.0.8", 1) == [Reason.UNAUTHENTICATED]
    tried.now_s = 60.0
    assert await tried.attempts("10.0.0.7", 1) == [Reason.UNAUTHENTICATED]


async def test_a_valid_key_behind_the_same_address_is_never_refused(tried: Tried) -> None:
    await tried.attempts("10.0.0.7", PER_MINUTE + 1)
    assert await tried.attempt("10.0.0.7", tried.key) is None


async def test_failures_are_counted_by_why_and_without_what_was_sent(tried: Tried) -> None:
    await tried.attempt("10.0.0.7", "")
    await tried.attempt("10.0.0.7", f"{tried.key}x")
    assert tried.counts.recorded == [
        (metrics.FAILED_ATTEMPTS, {"reason": "no_key"}),
        (metrics.FAILED_ATTEMPTS, {"reason": "unknown_key"}),
    ]


async def test_many_addresses_take_little_memory(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.access.failed_attempts._MAX_ADDRESSES", 10)
    for number in range(10):
        await tried.attempt(f"10.0.0.{number}")
    reasons = [(await tried.attempts(f"10.0.1.{number}", 1))[0] for number in range(PER_MINUTE + 1)]
    assert reasons[-2:] == [Reason.UNAUTHENTICATED, Reason.RATE_LIMIT_EXCEEDED]
