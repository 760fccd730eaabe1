"""The ledgers, in memory and in Redis: alike, exact, and nothing left over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from serving.gateway.quotas import redis
from serving.gateway.quotas.ledger import WINDOW_S, Account, Ledger, Limit, Refusal
from serving.gateway.quotas.memory import MemoryLedger
from serving.gateway.quotas.redis import RedisLedger
from tests.redis_server import needs_redis


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Case:
    """A ledger, and a way to have time pass for it."""

    def __init__(self, ledger: Ledger, later: Callable[[float], Awaitable[None]]) -> None:
        self.ledger = ledger
        self.later = later


async def _older(client: Redis, seconds: float) -> None:
    """Makes everything in a Redis older, as its clock cannot be set."""
    async for key in client.scan_iter("codegemma:*"):
        if await client.type(key) == b"zset":
            await client.zadd(key, {member: at - 1000 * seconds async for member, at in client.zscan_iter(key)})


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    kind: Literal["memory", "redis"] = request.param
    if kind == "memory":
        clock = Clock()

        async def later(seconds: float) -> None:
            clock.now_s += seconds

        yield Case(MemoryLedger(clock), later)
    else:
        ledger = RedisLedger(request.getfixturevalue("redis_url"), lease_s=300)
        await ledger.client.flushall()
        yield Case(ledger, lambda seconds: _older(ledger.client, seconds))
        await ledger.client.aclose()


def assert_refused(refusal: Refusal | None, limit: Limit, left: int, wait_s: float) -> None:
    """That there is no room in the first account, and will be after about that long."""
    assert refusal is not None
    assert (refusal.account, refusal.limit, refusal.left) == (0, limit, left)
    assert refusal.wait_s == pytest.approx(wait_s, abs=1)


async def test_requests_of_a_minute_are_counted_from_each_to_a_minute_after_it(case: Case) -> None:
    accounts = [Account("tenant:a", requests=2)]
    assert await case.ledger.begin("1", accounts) is None
    await case.later(20)
    assert await case.ledger.begin("2", accounts) is None
    refusal = await case.ledger.begin("3", accounts)
    assert_refused(refusal, "requests_per_minute", 0, 40)
    await case.later(41)
    assert await case.ledger.begin("3", accounts) is None
    assert await case.ledger.begin("4", accounts) is not None  # 2 is not a minute old


async def test_what_was_reserved_and_not_taken_is_given_back(case: Case) -> None:
    accounts = [Account("key:a", tokens=100)]
    for request in ("1", "2"):
        await case.ledger.begin(request, accounts)
    assert await case.ledger.reserve("1", accounts, 80) is None
    refusal = await case.ledger.reserve("2", accounts, 30)
    assert_refused(refusal, "tokens_per_minute", 20, 60)
    await case.ledger.end("1", accounts, 50)
    assert await case.ledger.reserve("2", accounts, 30) is None
    assert await case.ledger.reserve("2", accounts, 51) is not None
    assert await case.ledger.reserve("2", accounts, 50) is None  # of another model, say: in place of the 30


async def test_a_tokens_wait_is_until_enough_have_become_old(case: Case) -> None:
    accounts = [Account("key:a", tokens=100)]
    for request, tokens in (("1", 30), ("2", 30), ("3", 40)):
        await case.ledger.begin(request, accounts)
        assert await case.ledger.reserve(request, accounts, tokens) is None
        await case.later(10)
    await case.ledger.begin("4", accounts)
    refusal = await case.ledger.reserve("4", accounts, 50)
    assert_refused(refusal, "tokens_per_minute", 0, 40)


async def test_concurrent_requests_are_those_that_have_not_ended(case: Case) -> None:
    accounts = [Account("key:a", concurrent=2)]
    assert [await case.ledger.begin(request, accounts) for request in "12"] == [None, None]
    await case.later(WINDOW_S + 1)
    assert await case.ledger.begin("3", accounts) == Refusal(0, "concurrent_requests", 0, None)
    await case.ledger.end("1", accounts, 7)
    assert await case.ledger.begin("3", accounts) is None


async def test_one_account_without_room_leaves_the_others_as_they_were(case: Case) -> None:
    key, tenant = Account("key:a", requests=5, tokens=100, concurrent=5), Account("tenant:a", requests=1, tokens=50)
    assert await case.ledger.begin("1", [key, tenant]) is None
    refusal = await case.ledger.begin("2", [key, tenant])
    assert refusal
    assert refusal.account == 1
    assert await case.ledger.reserve("1", [key, tenant], 60) is not None
    for request in "3456":
        assert await case.ledger.begin(request, [key]) is None
    assert await case.ledger.reserve("3", [key], 100) is None


async def test_a_request_that_leaves_was_never_there(case: Case) -> None:
    accounts = [Account("key:a", requests=1, tokens=10, concurrent=1)]
    for request in ("1", "2"):
        assert await case.ledger.begin(request, accounts) is None
        assert await case.ledger.reserve(request, accounts, 10) is None
        await case.ledger.end(request, accounts, None)


async def test_a_request_of_more_than_a_minute_is_no_longer_in_any_minute(case: Case) -> None:
    accounts = [Account("key:a", requests=1, tokens=10)]
    await case.ledger.begin("1", accounts)
    await case.ledger.reserve("1", accounts, 10)
    await case.later(WINDOW_S + 1)
    await case.ledger.begin("2", accounts)
    assert await case.ledger.reserve("2", accounts, 10) is None
    await case.ledger.end("1", accounts, 1)
    assert await case.ledger.reserve("2", accounts, 11) is not None


@needs_redis
async def test_requests_of_a_gateway_that_was_lost_are_given_up(redis_url: str) -> None:
    ledger = RedisLedger(redis_url, lease_s=100)
    await ledger.client.flushall()
    accounts = [Account("key:a", concurrent=1)]
    await ledger.begin("1", accounts)
    await _older(ledger.client, 101)
    assert await ledger.begin("2", accounts) is None
    await ledger.client.aclose()


@needs_redis
async def test_redis_keeps_nothing_for_ever(redis_url: str) -> None:
    ledger = RedisLedger(redis_url, lease_s=100)
    await ledger.client.flushall()
    await ledger.begin("1", [Account("key:a", concurrent=1, tokens=10)])
    await ledger.reserve("1", [Account("key:a", concurrent=1, tokens=10)], 3)
    keys = [key async for key in ledger.client.scan_iter("*")]
    assert len(keys) == 3
    assert all([0 < await ledger.client.pttl(key) <= 100_000 for key in keys])
    await ledger.client.aclose()


async def test_memory_keeps_nothing_of_accounts_that_use_nothing() -> None:
    clock = Clock()
    ledger = MemoryLedger(clock)
    for number in range(100):
        await ledger.begin(f"{number}", [Account(f"tenant:{number}", requests=1)])
        await ledger.end(f"{number}", [Account(f"tenant:{number}", requests=1)], 1)
    clock.now_s = 2 * WINDOW_S
    await ledger.begin("last", [Account("tenant:a", requests=1)])
    assert len(ledger.used) == 1


_STEPS = st.lists(
    st.tuples(st.floats(0, 30), st.integers(0, 40), st.integers(0, 40), st.booleans()), min_size=1, max_size=60
)


@settings(deadline=None)
@given(_STEPS, st.integers(1, 8), st.integers(40, 120), st.integers(1, 4))
def test_no_minute_has_more_than_its_limits_and_nothing_is_refused_that_fits(
    steps: list[tuple[float, int, int, bool]], requests: int, tokens: int, concurrent: int
) -> None:
    """Against the plain sums over everything that was ever admitted."""

    async def run() -> None:
        clock = Clock()
        ledger = MemoryLedger(clock)
        accounts = [Account("key:a", requests, tokens, concurrent)]
        admitted: dict[str, tuple[float, int]] = {}
        running: list[str] = []
        for number, (pause, reserved, used, ends) in enumerate(steps):
            clock.now_s += pause
            recent = [entry for entry in admitted.values() if entry[0] > clock.now_s - WINDOW_S]
            fits = len(recent) < requests and len(running) < concurrent
            name = f"{number}"
            assert (await ledger.begin(name, accounts) is None) == fits
            if fits:
                fits = sum(entry[1] for entry in recent) + reserved <= tokens
                assert (await ledger.reserve(name, accounts, reserved) is None) == fits
                if fits:
                    admitted[name] = (clock.now_s, reserved)
                    running.append(name)
                else:
                    await ledger.end(name, accounts, None)
            if ends and running:
                first = running.pop(0)
                began_at, most = admitted[first]
                taken = min(used, most)
                await ledger.end(first, accounts, taken)
                admitted[first] = (began_at, taken)

    asyncio.run(run())


_CALLS = st.lists(
    st.tuples(st.sampled_from(["begin", "reserve", "end", "leave"]), st.integers(0, 5), st.integers(0, 60)), max_size=40
)


@needs_redis
@settings(max_examples=30, deadline=None)
@given(calls=_CALLS)
def test_redis_answers_as_memory_does(redis_url: str, calls: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        in_memory, in_redis = MemoryLedger(), RedisLedger(redis_url, lease_s=100)
        await in_redis.client.flushall()
        accounts = [Account("key:a", 4, 100, 3), Account("tenant:b", None, 80, None)]
        begun: set[int] = set()
        for operation, request, tokens in calls:
            if operation == "begin" and request in begun:
                continue  # no two requests have one name
            begun.add(request)
            said = []
            for ledger in (in_memory, in_redis):
                match operation:
                    case "begin":
                        refusal = await ledger.begin(f"{request}", accounts)
                    case "reserve":
                        refusal = await ledger.reserve(f"{request}", accounts, tokens)
                    case _:
                        refusal = None
                        await ledger.end(f"{request}", accounts, None if operation == "leave" else tokens)
                said.append(refusal and (refusal.account, refusal.limit, refusal.left))
            assert said[0] == said[1]
        await in_redis.client.aclose()

    asyncio.run(run())


@needs_redis
async def test_a_burst_that_waits_for_redis_is_counted_to_the_last(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a turn takes to come: only what Redis does not answer is a fault of Redis."""
    monkeypatch.setattr(redis, "TIMEOUT_S", 0.1)
    ledger = RedisLedger(redis_url, lease_s=300)
    await ledger.client.flushall()
    begun, answered = asyncio.Event(), ledger._script

    async def slow(keys: list[str], arguments: list[str | int]) -> Any:
        await begun.wait()
        return await answered(keys, arguments)

    monkeypatch.setattr(ledger, "_script", slow)
    accounts = [Account("key:a", requests=90)]
    asking = [asyncio.create_task(ledger.begin(f"{number}", accounts)) for number in range(100)]
    await asyncio.sleep(2 * redis.TIMEOUT_S)
    begun.set()
    refusals = await asyncio.gather(*asking)
    assert sum(refusal is None for refusal in refusals) == 90
    await ledger.client.aclose()


async def test_when_redis_does_not_answer_requests_in_the_queue_know_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = RedisLedger("redis://127.0.0.1:1", lease_s=300)
    asked = []

    async def lost(keys: list[str], arguments: list[str | int]) -> Any:
        asked.append(arguments)
        await asyncio.sleep(0)
        raise TimeoutError

    monkeypatch.setattr(ledger, "_script", lost)
    ends = await asyncio.gather(*(ledger.begin("1", [Account("key:a")]) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(end, TimeoutError | RedisError) for end in ends)
    assert len(asked) == 8
