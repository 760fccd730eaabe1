"""A Gateway's groups over real links: who gets what, and what happens when a group or a Gateway goes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from serving.autoscaling.config import AutoscalingConfig
from serving.config import LimitsConfig, ModelConfig, Role
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from serving.errors import Reason, ServingError
from serving.gateway.groups.group import LinkedGroup
from serving.gateway.groups.pool import GroupPool
from serving.gateway.status import GroupState
from serving.group.server import GroupServer
from serving.link import FromGroup, GroupAddress, encode
from sharding.step import Token
from tests.engine.simulated import TIMEOUT_S, Gate, SimulatedRunner, expected_tokens, limits_of, request_of
from tests.gateway.collected import Collected, collected

ROWS = 4
MODEL = ModelConfig(
    id="simulated", checkpoint="none", roles=(Role.CHAT,), limits=LimitsConfig(max_rows=ROWS, max_queue=8)
)


class Group:
    """What a leader is to a Gateway: an engine, its thread and its server, over a simulated model."""

    def __init__(self) -> None:
        self.runner = SimulatedRunner(limits_of(num_pages=256, max_context=512))
        self.engine = Engine(self.runner, max_queue=100)
        self.server = GroupServer(self.engine, "127.0.0.1")
        self.thread = EngineThread(self.engine, after_step=self.server.after_step)
        self.thread.start()
        self.address = self.server.start()
        self._stopped = False

    def is_ending(self) -> bool:
        """Whether the requests have been told to end, which they do at the next step, or have ended already."""
        return len(self.engine._intake._ending) == self.engine.in_flight

    def stop(self, *, drain: bool) -> None:
        """Ends it as a leader does; more than once is no harm."""
        if not self._stopped:
            self._stopped = True
            self.thread.stop(drain=drain, timeout_s=TIMEOUT_S)
            self.server.stop()


class Steps:
    """Lets a runner take as many steps as it is told to."""

    def __init__(self, runner: SimulatedRunner, allowed: int) -> None:
        self._allowed = threading.Semaphore(allowed)
        runner.before_step = self._take

    def allow_all(self) -> None:
        self._allowed.release(10_000)

    def _take(self) -> None:
        assert self._allowed.acquire(timeout=TIMEOUT_S)


class Socket:
    """A link on which these messages come at once, before it ends."""

    def __init__(self, messages: list[FromGroup]) -> None:
        self._messages = messages

    async def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]:
        for message in self._messages:
            yield aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, encode(message), None)

    async def send_bytes(self, data: bytes) -> None:
        """The other end takes everything."""


async def nothing_to_wake() -> None:
    """Ray Serve would return when there is a group."""
    await asyncio.Event().wait()


@pytest.fixture
async def groups() -> AsyncIterator[list[Group]]:
    groups = [Group(), Group()]
    yield groups
    for group in groups:
        await asyncio.to_thread(group.stop, drain=False)


@pytest.fixture
async def pool() -> AsyncIterator[GroupPool]:
    pool = GroupPool(MODEL, nothing_to_wake)
    yield pool
    await pool.close()


async def until(condition: Callable[[], object]) -> None:
    """What happens at once in other threads and on links; fails only when something hangs."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.001)


async def generated(pool: GroupPool, request: GenerationRequest) -> list[int]:
    async with asyncio.timeout(TIMEOUT_S):
        return (await collected(pool, request)).ids


async def test_a_request_gets_the_tokens_of_its_engine(pool: GroupPool, groups: list[Group]) -> None:
    pool.update({"a": groups[0].address})
    await until(lambda: pool._candidates())
    requests = [request_of(str(seed), max_tokens=30, seed=seed) for seed in range(ROWS + MODEL.limits.max_queue)]
    answers = await asyncio.gather(*[generated(pool, request) for request in requests])
    for request, tokens in zip(requests, answers, strict=True):
        assert tokens == expected_tokens(request, 512)[0]


async def test_a_step_of_many_requests_is_one_message(
    pool: GroupPool, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[int] = []
    pool.update({"a": groups[0].address})
    await until(lambda: pool._candidates())
    [linked] = pool._candidates()
    receive = linked._receive

    def counted(data: bytes) -> None:
        received.append(len(data))
        receive(data)

    monkeypatch.setattr(linked, "_receive", counted)
    gate = Gate(groups[0].runner)
    tasks = [asyncio.create_task(generated(pool, request_of(str(i), max_tokens=50, seed=i))) for i in range(ROWS)]
    await until(lambda: groups[0].engine.in_flight == ROWS)
    gate.open.set()
    await asyncio.gather(*tasks)
    # A step of four rows and its load; the first tokens and the ends of requests may take some more.
    assert len(received) < 2 * groups[0].engine.stats().steps


async def test_closing_a_generation_frees_its_row(pool: GroupPool, groups: list[Group]) -> None:
    steps = Steps(groups[0].runner, 1)
    pool.update({"a": groups[0].address})
    sink = Collected()
    handle = pool.submit(request_of("a", max_tokens=400), sink)
    await sink.begun.wait()
    handle.abort()
    await until(groups[0].is_ending)
    steps.allow_all()
    await until(lambda: groups[0].engine.in_flight == 0)
    assert groups[0].engine.stats().aborted == 1


async def test_a_gateway_that_is_gone_leaves_nothing_behind(groups: list[Group]) -> None:
    steps = Steps(groups[0].runner, 1)
    gateway = GroupPool(MODEL, nothing_to_wake)
    gateway.update({"a": groups[0].address})
    sink = Collected()
    gateway.submit(request_of("a", max_tokens=400), sink)
    await sink.begun.wait()
    await gateway.close()
    await until(groups[0].is_ending)
    steps.allow_all()
    await until(lambda: groups[0].engine.in_flight == 0)
    assert groups[0].engine.stats().aborted == 1


async def test_a_group_lost_before_its_first_token_costs_nothing(pool: GroupPool, groups: list[Group]) -> None:
    dying, other = groups
    gate = Gate(dying.runner)
    pool.update({"dying": dying.address})
    request = request_of("a", max_tokens=30)
    task = asyncio.create_task(generated(pool, request))
    await until(gate.reached.is_set)
    pool.update({"dying": dying.address, "other": other.address})
    dying.engine.fail(RuntimeError("the device is on fire"))
    gate.open.set()
    assert await task == expected_tokens(request, 512)[0]
    assert other.engine.stats().generated_tokens == 30


async def test_a_group_lost_after_the_first_token_is_told_to_the_client(pool: GroupPool, groups: list[Group]) -> None:
    steps = Steps(groups[0].runner, 1)
    pool.update({"a": groups[0].address})
    sink = Collected()
    pool.submit(request_of("a", max_tokens=400), sink)
    await sink.begun.wait()
    stopping = asyncio.create_task(asyncio.to_thread(groups[0].stop, drain=False))
    await until(groups[0].is_ending)
    steps.allow_all()
    with pytest.raises(ServingError) as error:
        await sink.end()
    assert error.value.reason is Reason.UNAVAILABLE and error.value.retry_after_s
    await stopping


async def test_a_request_that_waits_anew_after_its_group_was_lost_can_be_aborted(
    pool: GroupPool, groups: list[Group]
) -> None:
    gate = Gate(groups[0].runner)
    pool.update({"a": groups[0].address})
    sink = Collected()
    handle = pool.submit(request_of("a", max_tokens=30), sink)
    await until(gate.reached.is_set)
    groups[0].engine.fail(RuntimeError("the device is on fire"))
    gate.open.set()
    await until(lambda: pool.waiting == 1)
    handle.abort()
    assert pool.waiting == 0
    assert not sink.ended.is_set()


async def test_of_what_a_lost_link_carried_one_may_abort_another() -> None:
    class Both(Collected):
        def fail(self, error: ServingError) -> None:
            super().fail(error)
            linked.abort("b")

    linked = LinkedGroup("a", lambda: None)
    first, second = Both(), Collected()
    linked.open(request_of("a"), first)
    linked.open(request_of("b"), second)
    await linked.run(Socket([]))  # type: ignore[arg-type]
    assert first.error
    assert not second.ended.is_set()
    assert linked.idle


async def test_an_answer_that_is_complete_when_its_link_ends_is_an_answer() -> None:
    linked = LinkedGroup("a", lambda: None)
    sink = Collected()
    linked.open(request_of("a"), sink)
    last = GenerationChunk(tokens=(Token(5),), finish_reason=FinishReason.LENGTH)
    await linked.run(Socket([FromGroup(load=0, taken=1, chunks=[("a", last)])]))  # type: ignore[arg-type]
    assert sink.chunks == [last]
    assert linked.idle and not linked.serves


async def test_what_waits_for_a_model_that_was_given_up_is_refused(groups: list[Group]) -> None:
    async def wake() -> None:
        raise ServingError(Reason.UNAVAILABLE, "given up", retry_after_s=1.0)

    pool = GroupPool(MODEL, wake)
    with pytest.raises(ServingError, match="given up"):
        await generated(pool, request_of("a"))
    pool.update({"a": groups[0].address})
    assert await generated(pool, request_of("b")) == expected_tokens(request_of("b"), 512)[0]
    await pool.close()


async def test_a_group_that_is_to_go_finishes_what_it_has_and_gets_nothing_new(
    pool: GroupPool, groups: list[Group]
) -> None:
    old, new = groups
    gate = Gate(old.runner)
    pool.update({"old": old.address})
    request = request_of("a", max_tokens=100)
    task = asyncio.create_task(generated(pool, request))
    await until(gate.reached.is_set)
    pool.update({"new": new.address})
    assert await generated(pool, request_of("b")) == expected_tokens(request_of("b"), 512)[0]
    assert new.engine.stats().generated_tokens > 0
    gate.open.set()
    assert await task == expected_tokens(request, 512)[0]
    await asyncio.to_thread(old.stop, drain=True)


async def test_a_group_that_refuses_because_it_stops_is_not_asked_again(pool: GroupPool, groups: list[Group]) -> None:
    stopping, other = groups
    pool.update({"stopping": stopping.address})
    await until(lambda: pool._candidates())
    stopping.engine.close()
    task = asyncio.create_task(generated(pool, request_of("a")))
    await until(lambda: not pool._candidates())
    pool.update({"stopping": stopping.address, "other": other.address})
    assert await task == expected_tokens(request_of("a"), 512)[0]


async def test_what_waits_goes_to_the_group_that_comes_and_the_groups_know_of_it(
    pool: GroupPool, groups: list[Group]
) -> None:
    first, second = groups
    gate = Gate(first.runner)
    pool.update({"first": first.address})
    tasks = [asyncio.create_task(generated(pool, request_of(str(i), seed=i))) for i in range(ROWS + 3)]
    await until(lambda: first.server.waiting == 3)
    assert first.engine.in_flight == ROWS
    pool.update({"first": first.address, "second": second.address})
    await asyncio.gather(*tasks[ROWS:])
    assert second.engine.stats().generated_tokens == 3 * 8
    gate.open.set()
    await asyncio.gather(*tasks)
    await until(lambda: first.server.waiting == second.server.waiting == 0)


async def test_what_waits_without_any_group_is_answered_when_there_is_one(pool: GroupPool, groups: list[Group]) -> None:
    assert not await pool.ready()
    task = asyncio.create_task(generated(pool, request_of("a")))
    await asyncio.sleep(0)
    pool.update({"a": groups[0].address})
    assert await task == expected_tokens(request_of("a"), 512)[0]
    assert await pool.ready()


async def test_a_full_queue_refuses_and_urgent_requests_pass_what_waits(pool: GroupPool, groups: list[Group]) -> None:
    gate = Gate(groups[0].runner)
    pool.update({"a": groups[0].address})
    await until(lambda: pool._candidates())
    tasks = [asyncio.create_task(generated(pool, request_of(str(i), seed=i))) for i in range(ROWS + 8)]
    await until(lambda: groups[0].engine.in_flight == ROWS)
    with pytest.raises(ServingError) as error:
        await generated(pool, request_of("too many"))
    assert error.value.reason is Reason.OVERLOADED and error.value.retry_after_s
    urgent = asyncio.create_task(generated(pool, request_of("urgent", priority=Priority.URGENT)))
    await until(lambda: groups[0].engine.in_flight == ROWS + 1)
    gate.open.set()
    await asyncio.gather(urgent, *tasks)


async def test_who_stops_waiting_is_forgotten(pool: GroupPool, groups: list[Group]) -> None:
    task = asyncio.create_task(generated(pool, request_of("a")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pool.update({"a": groups[0].address})
    assert await generated(pool, request_of("b")) == expected_tokens(request_of("b"), 512)[0]
    assert groups[0].engine.stats().generated_tokens == 8


async def test_a_refusal_is_the_error_of_its_request_alone(pool: GroupPool, groups: list[Group]) -> None:
    pool.update({"a": groups[0].address})
    with pytest.raises(ServingError) as error:
        await generated(pool, request_of("long", range(600)))
    assert error.value.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert await generated(pool, request_of("b")) == expected_tokens(request_of("b"), 512)[0]
    await until(lambda: pool._candidates()[0].load == 0)


async def test_the_loads_of_two_gateways_add_up(groups: list[Group]) -> None:
    pools = [GroupPool(MODEL, nothing_to_wake) for _ in range(2)]
    for pool in pools:
        pool.update({"a": groups[0].address})
    gate = Gate(groups[0].runner)
    tasks = [asyncio.create_task(generated(pools[i % 2], request_of(str(i), seed=i))) for i in range(ROWS)]
    await until(lambda: [pool._candidates() and pool._candidates()[0].load for pool in pools] == [ROWS, ROWS])
    gate.open.set()
    await asyncio.gather(*tasks)
    await until(lambda: [pool._candidates()[0].load for pool in pools] == [0, 0])
    for pool in pools:
        await pool.close()


async def test_a_model_that_sleeps_is_woken_once_for_what_waits(groups: list[Group]) -> None:
    sleeping = MODEL.model_copy(update={"autoscaling": AutoscalingConfig(min_replicas=0, max_replicas=2)})
    calls: list[str] = []

    async def wake() -> None:
        calls.append("wake")
        asleep.update({"a": groups[0].address})

    asleep = GroupPool(sleeping, wake)
    assert await asleep.ready()
    tasks = [asyncio.create_task(generated(asleep, request_of(str(i), seed=i))) for i in range(3)]
    await asyncio.gather(*tasks)
    assert calls == ["wake"]
    await asleep.close()


async def test_strangers_are_not_let_in(groups: list[Group]) -> None:
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as error:
                await session.ws_connect(groups[0].address.url, headers=headers)
            assert error.value.status == 401


async def test_finish_reasons_come_through(pool: GroupPool, groups: list[Group]) -> None:
    pool.update({"a": groups[0].address})
    assert (await collected(pool, request_of("a"))).finish_reason is FinishReason.LENGTH


async def test_the_status_is_that_of_every_group_and_of_what_waits(pool: GroupPool, groups: list[Group]) -> None:
    nowhere = GroupAddress("http://127.0.0.1:1/", "key")
    pool.update({"a": groups[0].address, "gone": nowhere})
    await until(lambda: pool._candidates())
    gates = [Gate(group.runner) for group in groups[:2]]
    tasks = [asyncio.create_task(generated(pool, request_of(str(i), max_tokens=5, seed=i))) for i in range(ROWS + 2)]
    await until(lambda: pool.status().waiting == 2)
    states = {group.id: (group.state, group.requests) for group in pool.status().groups}
    assert states == {"a": (GroupState.READY, ROWS), "gone": (GroupState.UNREACHABLE, 0)}
    pool.update({"b": groups[1].address})
    await until(lambda: pool.status().waiting == 0)
    states = {group.id: (group.state, group.requests) for group in pool.status().groups}
    assert states == {"a": (GroupState.LEAVING, ROWS), "b": (GroupState.READY, 2)}
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*tasks)
    await until(lambda: [group.id for group in pool.status().groups] == ["b"])
