"""Whatever the sizes and whatever else happens, a request gets the tokens it would get alone, and nothing leaks."""

import math
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from serving.engine.engine import LOOP_S, DeadlineUnreachable, Engine
from serving.engine.request import FinishReason, GenerationRequest, Priority
from serving.engine.scheduler import AGEING_STEPS
from serving.engine.sequence import SequenceState
from sharding.step import Limits
from tests.engine.simulated import (
    VOCABULARY,
    FakeClock,
    Receiver,
    SimulatedRunner,
    expected_answer,
    limits_of,
    request_of,
    run_until_idle,
    submit,
)

LIMITS = st.builds(
    limits_of,
    page_size=st.integers(1, 5),
    num_pages=st.integers(4, 16),
    max_rows=st.integers(1, 5),
    max_step_tokens=st.integers(1, 12),
    max_context=st.integers(4, 40),
)
SHARED_PREFIXES = st.sampled_from([(), (1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 9, 9), (1,) * 12])


@st.composite
def requests(draw: st.DrawFn, request_id: str, limits: Limits, now: float | None = None) -> GenerationRequest:
    """A request that can run, often with the same beginning as others; with `now`, of a session and in a hurry."""
    prompt = [*draw(SHARED_PREFIXES), *draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))]
    return request_of(
        request_id,
        prompt[: max_length(limits) - 1],
        max_tokens=draw(st.integers(1, 24)),
        seed=draw(st.integers(0, 1)),
        stop_ids=draw(st.frozensets(st.integers(0, VOCABULARY - 1), max_size=1)),
        priority=draw(st.sampled_from(Priority)),
        timeout_s=None if now is None else draw(st.none() | st.integers(1, 60)),
        sent_at=None if now is None else draw(st.none() | st.integers(0, 3).map(lambda seconds: now - seconds)),
        session_id="" if now is None else draw(st.sampled_from(["", "one", "two"])),
        cache_domain=draw(st.sampled_from(["", "a", "b"])),
        scores_prompt=draw(st.booleans()),
        presence_penalty=draw(st.sampled_from([0.0, 1.0])),
    )


def max_length(limits: Limits) -> int:
    return min(limits.max_context, limits.num_pages * limits.page_size)


def most_steps(batch: Iterable[GenerationRequest]) -> int:
    """Steps that suffice for all.

    The first in line advances by at least a token in every step but those of ageing; each request is first in line at
    most once from the beginning, and once more after an older one came in between.
    """
    return 2 * AGEING_STEPS + sum(3 * (len(request.prompt_ids) + request.max_tokens) for request in batch)


@given(data=st.data(), limits=LIMITS, rounds=st.integers(1, 2))
@settings(deadline=None, max_examples=150)
def test_tokens_are_those_of_the_request_alone_for_any_sizes_and_any_batch_and_with_a_warm_cache(
    data: st.DataObject, limits: Limits, rounds: int
) -> None:
    batch = [data.draw(requests(f"r{i}", limits)) for i in range(data.draw(st.integers(1, 7)))]
    loop_s = data.draw(st.sampled_from([0.0, LOOP_S]))
    engine = Engine(SimulatedRunner(limits), max_queue=len(batch), clock=FakeClock(), loop_s=loop_s)
    for _ in range(rounds):
        receivers = [submit(engine, request) for request in batch]
        run_until_idle(engine, max_steps=most_steps(batch))
        for request, receiver in zip(batch, receivers, strict=True):
            assert (receiver.tokens, receiver.finish_reason) == expected_answer(request, max_length(limits))
            assert receiver.cached_tokens < len(request.prompt_ids)
        assert engine.stats().free_pages == limits.num_pages


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_request_finds_cached_what_it_would_find_if_its_domain_were_alone(data: st.DataObject) -> None:
    limits = limits_of(num_pages=256, page_size=2, max_context=40)  # nothing is evicted
    batch = [data.draw(requests(f"r{i}", limits)) for i in range(data.draw(st.integers(2, 8)))]
    shared = Engine(SimulatedRunner(limits), max_queue=1)
    alone = {request.cache_domain: Engine(SimulatedRunner(limits), max_queue=1) for request in batch}
    for request in batch:
        found = []
        for engine in (shared, alone[request.cache_domain]):
            receiver = submit(engine, request)
            run_until_idle(engine)
            found.append(receiver.cached_tokens)
        assert found[0] == found[1]


class EngineMachine(RuleBasedStateMachine):
    """Requests of all classes come, end and run out of time in any order, between steps and in the middle of one."""

    live = Bundle("live")

    @initialize(limits=LIMITS, loop_s=st.sampled_from([0.0, 1.0]))
    def start(self, limits: Limits, loop_s: float) -> None:
        self.limits = limits
        self.clock = FakeClock()
        self.runner = SimulatedRunner(limits)
        self.runner.before_step = self.tick
        self.engine = Engine(
            self.runner, clock=self.clock, wall_clock=self.clock, max_queue=1000, loop_s=loop_s, lead_s=math.inf
        )
        self.scheduler = self.engine._scheduler
        self.requests: dict[str, GenerationRequest] = {}
        self.receivers: dict[str, Receiver] = {}
        self.newest: dict[str, float] = {}

    def tick(self) -> None:
        self.clock.now += 0.25

    @rule(target=live, data=st.data(), count=st.integers(1, 3))
    def submit(self, data: st.DataObject, count: int) -> object:
        taken = []
        for _ in range(count):
            request = data.draw(requests(f"r{len(self.requests)}", self.limits, self.clock.now))
            sent_at = self.clock.now if request.sent_at is None else request.sent_at
            if request.priority is Priority.URGENT:
                self.newest[request.session_id] = max(sent_at, self.newest.get(request.session_id, 0))
            try:
                self.receivers[request.request_id] = submit(self.engine, request)
            except DeadlineUnreachable:
                assert request.timeout_s is not None
            else:
                self.requests[request.request_id] = request
                taken.append(request.request_id)
        return multiple(*taken)

    @rule(name=consumes(live))
    def abort(self, name: str) -> None:
        self.engine.abort(name)

    @rule(name=consumes(live))
    def abort_in_the_middle_of_a_step(self, name: str) -> None:
        self.runner.before_step = lambda: self.engine.abort(name)
        self.step()
        self.runner.before_step = self.tick
        assert self.receivers[name].finished or self.engine.step()
        assert self.receivers[name].finished

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(count=st.integers(1, 20))
    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def step(self) -> None:
        before, steps = self.engine.stats(), len(self.runner.steps)
        running = [(sequence, sequence.launched) for sequence in self.scheduler.running]
        first_goes_on = bool(running) and running[0][0].unlaunched > 0  # else it ends with the step that runs
        urgent_before = before.queued_urgent + sum(sequence.priority is Priority.URGENT for sequence, _ in running)
        assert self.engine.step() == (before.queued + before.running > 0)
        ended = (FinishReason.ABORTED, FinishReason.SUPERSEDED, FinishReason.DEADLINE)
        running = [each for each in running if self.receivers[each[0].request.request_id].finish_reason not in ended]
        if running or any(self.scheduler):
            assert len(self.runner.steps) > steps, "no step is empty while there is a sequence"
        first_is_served = self.scheduler._last_turn < self.scheduler._step
        if (
            running
            and first_goes_on
            and first_is_served
            and (running[0][0].priority is Priority.URGENT or not urgent_before)
        ):
            first, launched = running[0]
            assert first.state is SequenceState.FINISHED or first.launched > launched, "the first in line advances"

    @invariant()
    def every_use_of_a_page_is_counted(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        uses = Counter(page for sequence in self.scheduler.running for page in sequence.pages)
        pool = self.scheduler.pages.pool
        assert [pool.users(page) for page in range(pool.total)] == [uses[page] for page in range(pool.total)]
        assert pool.free_pages == pool.total - len(uses)
        for waiting in self.scheduler.waiting.values():
            assert all(not sequence.pages and sequence.computed == 0 for sequence in waiting)

    @invariant()
    def no_more_of_a_class_are_running_than_there_are_rows(self) -> None:
        if hasattr(self, "scheduler"):
            running = Counter(sequence.priority for sequence in self.scheduler.running if sequence.unlaunched)
            assert all(number <= self.scheduler.max_rows for number in running.values())

    @invariant()
    def the_urgent_requests_of_a_session_that_live_are_choices_of_one(self) -> None:
        if hasattr(self, "scheduler"):
            sent: dict[str, set[float]] = {}
            for sequence in self.scheduler:
                if sequence.priority is Priority.URGENT and sequence.request.session_id:
                    sent.setdefault(sequence.request.session_id, set()).add(sequence.sent_at)
            assert all(len(times) == 1 for times in sent.values())

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        run_until_idle(self.engine, max_steps=most_steps(self.requests.values()))
        for name, request in self.requests.items():
            receiver = self.receivers[name]
            tokens, reason = expected_answer(request, max_length(self.limits))
            assert [chunk.finish_reason is not None for chunk in receiver.chunks].count(True) == 1
            if receiver.finish_reason is FinishReason.SUPERSEDED:
                assert request.priority is Priority.URGENT and request.session_id
                assert request.sent_at is None or request.sent_at < self.newest[request.session_id]
            if receiver.finish_reason in (FinishReason.ABORTED, FinishReason.SUPERSEDED, FinishReason.DEADLINE):
                assert receiver.tokens == tokens[: len(receiver.tokens)]
            else:
                assert (receiver.tokens, receiver.finish_reason) == (tokens, reason)
        stats = self.engine.stats()
        assert (stats.queued, stats.running, stats.free_pages) == (0, 0, self.limits.num_pages)
        self.every_use_of_a_page_is_counted()


EngineMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestEngineMachine = EngineMachine.TestCase
