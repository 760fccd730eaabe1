"""Whatever the sizes and whatever else happens, a request gets the tokens it would get alone, and nothing leaks."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationRequest
from serving.engine.runner import RunnerLimits
from tests.engine.simulated import (
    VOCABULARY,
    FakeClock,
    Receiver,
    SimulatedRunner,
    expected_tokens,
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
def requests(draw: st.DrawFn, request_id: str, limits: RunnerLimits, max_timeout_s: int = 0) -> GenerationRequest:
    """A request that the engine takes, often with the same beginning as others."""
    prompt = [*draw(SHARED_PREFIXES), *draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))]
    return request_of(
        request_id,
        prompt[: max_length(limits) - 1],
        max_tokens=draw(st.integers(1, 24)),
        seed=draw(st.integers(0, 1)),
        stop_ids=draw(st.frozensets(st.integers(0, VOCABULARY - 1), max_size=1)),
        timeout_s=draw(st.none() | st.integers(1, max_timeout_s)) if max_timeout_s else None,
    )


def max_length(limits: RunnerLimits) -> int:
    return min(limits.max_context, limits.num_pages * limits.page_size)


def most_steps(request: GenerationRequest) -> int:
    """The oldest request advances by at least a token in every step, so this many suffice once it is the oldest."""
    return len(request.prompt_ids) + request.max_tokens


@given(data=st.data(), limits=LIMITS, rounds=st.integers(1, 2))
@settings(deadline=None, max_examples=150)
def test_tokens_are_those_of_the_request_alone_for_any_sizes_and_any_batch_and_with_a_warm_cache(
    data: st.DataObject, limits: RunnerLimits, rounds: int
) -> None:
    batch = [data.draw(requests(f"r{i}", limits)) for i in range(data.draw(st.integers(1, 7)))]
    engine = Engine(SimulatedRunner(limits), max_queue=len(batch))
    for _ in range(rounds):
        receivers = [submit(engine, request) for request in batch]
        run_until_idle(engine, max_steps=sum(map(most_steps, batch)) + 1)
        for request, receiver in zip(batch, receivers, strict=True):
            assert (receiver.token_ids, receiver.finish_reason) == expected_tokens(request, max_length(limits))
            assert receiver.cached_tokens < len(request.prompt_ids)
        assert engine.stats().free_pages == limits.num_pages


class EngineMachine(RuleBasedStateMachine):
    """Requests come, are aborted and run out of time in any order, between steps and in the middle of one."""

    live = Bundle("live")

    @initialize(limits=LIMITS)
    def start(self, limits: RunnerLimits) -> None:
        self.limits = limits
        self.clock = FakeClock()
        self.runner = SimulatedRunner(limits)
        self.engine = Engine(self.runner, clock=self.clock, max_queue=1000)
        self.scheduler = self.engine._scheduler
        self.requests: dict[str, GenerationRequest] = {}
        self.receivers: dict[str, Receiver] = {}

    @rule(target=live, data=st.data(), count=st.integers(1, 3))
    def submit(self, data: st.DataObject, count: int) -> object:
        names = [f"r{len(self.requests) + i}" for i in range(count)]
        for name in names:
            self.requests[name] = data.draw(requests(name, self.limits, max_timeout_s=60))
            self.receivers[name] = submit(self.engine, self.requests[name])
        return multiple(*names)

    @rule(name=consumes(live))
    def abort(self, name: str) -> None:
        self.engine.abort(name)

    @rule(name=consumes(live))
    def abort_in_the_middle_of_a_step(self, name: str) -> None:
        self.runner.before_step = lambda: self.engine.abort(name)
        self.step()
        self.runner.before_step = lambda: None
        assert self.receivers[name].finished or self.engine.step()
        assert self.receivers[name].finished

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(count=st.integers(1, 6))
    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def step(self) -> None:
        before, steps = self.engine.stats(), len(self.runner.steps)
        known = [*self.scheduler.running, *self.scheduler.waiting]
        computed = {sequence.request.request_id: sequence.computed for sequence in known}
        assert self.engine.step() == (before.queued + before.running > 0)
        for sequence in known:  # the oldest first
            name = sequence.request.request_id
            if self.receivers[name].finish_reason not in (FinishReason.ABORTED, FinishReason.DEADLINE):
                assert len(self.runner.steps) == steps + 1
                assert self.receivers[name].finished or sequence.computed > computed[name], "the oldest always advances"
                break

    @invariant()
    def every_use_of_a_page_is_counted(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        uses = Counter(page for sequence in self.scheduler.running for page in sequence.pages)
        pool = self.scheduler.pool
        assert [pool.users(page) for page in range(pool.total)] == [uses[page] for page in range(pool.total)]
        assert pool.free_pages == pool.total - len(uses)
        assert all(not sequence.pages and sequence.computed == 0 for sequence in self.scheduler.waiting)

    @invariant()
    def requests_start_in_the_order_of_their_arrival(self) -> None:
        if hasattr(self, "scheduler"):
            order = [sequence.request.request_id for sequence in (*self.scheduler.running, *self.scheduler.waiting)]
            assert order == [name for name in self.requests if name in order]

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        run_until_idle(self.engine, max_steps=sum(map(most_steps, self.requests.values())) + 1)
        for name, request in self.requests.items():
            receiver = self.receivers[name]
            tokens, reason = expected_tokens(request, max_length(self.limits))
            assert [chunk.finish_reason is not None for chunk in receiver.chunks].count(True) == 1
            if receiver.finish_reason in (FinishReason.ABORTED, FinishReason.DEADLINE):
                assert receiver.token_ids == tokens[: len(receiver.token_ids)]
            else:
                assert (receiver.token_ids, receiver.finish_reason) == (tokens, reason)
        stats = self.engine.stats()
        assert (stats.queued, stats.running, stats.free_pages) == (0, 0, self.limits.num_pages)
        self.every_use_of_a_page_is_counted()


EngineMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestEngineMachine = EngineMachine.TestCase
