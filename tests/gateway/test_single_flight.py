"""SingleFlight: one computation for many, whoever of them leaves or fails."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.backend import Handle
from serving.gateway.single_flight import SingleFlight
from serving.models.adapter_directory import AdapterDirectory
from sharding.step import SamplingParams, Token
from tests.gateway.collected import Collected
from tests.gateway.computations import Computation, Computations

STOP = GenerationChunk(finish_reason=FinishReason.STOP)
REQUEST = GenerationRequest(request_id="a", prompt_ids=(2, 5), max_tokens=9)
LOST = ServingError(Reason.UNAVAILABLE, "Lost.")


def chunk(*ids: int, reason: FinishReason | None = None) -> GenerationChunk:
    return GenerationChunk(tokens=tuple(map(Token, ids)), finish_reason=reason)


class Leaving(Collected):
    """A sink that aborts these handles when it first gets something."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[Handle] = []

    def feed(self, chunk: GenerationChunk) -> None:
        super().feed(chunk)
        self.leave()

    def fail(self, error: ServingError) -> None:
        super().fail(error)
        self.leave()

    def leave(self) -> None:
        while self.handles:
            self.handles.pop().abort()


@pytest.fixture
def backend() -> Computations:
    return Computations()


@pytest.fixture
def flights(backend: Computations) -> SingleFlight:
    return SingleFlight(backend)


def named(request_id: str) -> GenerationRequest:
    return replace(REQUEST, request_id=request_id, session_id=request_id)


async def test_requests_with_different_adapters_share_nothing(backend: Computations, flights: SingleFlight) -> None:
    for number, adapter in enumerate(["", "team-a", "team-b", "team-a"]):
        flights.submit(replace(named(f"r{number}"), adapter=adapter), Collected())
    assert [each.request.adapter for each in backend.all] == ["", "team-a", "team-b"]


async def test_nobody_reads_along_with_what_an_adapter_computes_that_has_been_replaced(
    backend: Computations, tmp_path: Path
) -> None:
    (tmp_path / "team-a").mkdir()
    config = tmp_path / "team-a" / "adapter_config.json"
    config.write_text("{}")
    directory = AdapterDirectory(tmp_path)
    flights = SingleFlight(backend, directory)
    before, again, after = (Collected() for _ in range(3))
    flights.submit(replace(named("before"), adapter="team-a"), before)
    flights.submit(replace(named("again"), adapter="team-a"), again)
    backend["before"].give(chunk(1))
    config.write_text('{"r": 8}')
    directory.scan()
    flights.submit(replace(named("after"), adapter="team-a"), after)
    backend["after"].give(chunk(2), STOP)
    backend["before"].give(STOP)
    assert (before.ids, again.ids, after.ids) == ([1], [1], [2])
    assert backend.ids == ["before", "after"]


async def test_identical_requests_share_one_computation_from_its_beginning(
    backend: Computations, flights: SingleFlight
) -> None:
    first, second, third = sinks = [Collected() for _ in range(3)]
    flights.submit(REQUEST, first)
    backend["a"].give(replace(chunk(1), cached_tokens=2), chunk(2))
    for name, sink in (("b", second), ("c", third)):
        flights.submit(named(name), sink)
        assert sink.chunks == [replace(chunk(1, 2), cached_tokens=2)]  # at once
    backend["a"].give(chunk(3), STOP)
    assert [(sink.ids, sink.finish_reason) for sink in sinks] == [([1, 2, 3], FinishReason.STOP)] * 3
    assert backend.ids == ["a"]


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_who_comes_late_to_a_long_answer_is_not_given_all_of_it_at_once(
    backend: Computations, flights: SingleFlight, order: str
) -> None:
    answer = list(range(513))
    sinks = first, second, third = [Collected() for _ in range(3)]
    flights.submit(REQUEST, first)
    backend["a"].give(chunk(*answer))
    flights.submit(named("b"), second)
    flights.submit(named("c"), third)
    assert second.ids == third.ids == []
    rest = {"a": [STOP], "b": [chunk(*answer), STOP]}
    for name in order:
        backend[name].give(*rest[name])
    assert [sink.ids for sink in sinks] == [answer] * 3
    assert backend.ids == ["a", "b"]
    flights.submit(named("d"), Collected())
    assert backend.ids == ["a", "b", "d"]


async def test_what_is_over_is_over(backend: Computations, flights: SingleFlight) -> None:
    flights.submit(REQUEST, Collected())
    backend["a"].give(chunk(1), STOP)
    again = Collected()
    flights.submit(named("b"), again)
    backend["b"].give(chunk(7), STOP)
    assert again.ids == [7]


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (replace(REQUEST, sampling=SamplingParams(seed=5, top_k=3, min_p=0.1)), True),  # greedy: none decides
        (replace(REQUEST, sampling=SamplingParams(presence_penalty=1.0)), False),
        (replace(REQUEST, sampling=SamplingParams(logit_bias=((5, 1.0),))), False),
        (replace(REQUEST, timeout_s=3.0, sent_at=9.0), True),
        (replace(REQUEST, sampling=SamplingParams(temperature=1.0)), False),
        (replace(REQUEST, sampling=SamplingParams(logprobs=0)), False),
        (replace(REQUEST, prompt_ids=(2, 6)), False),
        (replace(REQUEST, max_tokens=8), False),
        (replace(REQUEST, stop_ids=frozenset({1})), False),
        (replace(REQUEST, cache_domain="another"), False),
    ],
)
async def test_only_requests_for_the_same_tokens_share(
    backend: Computations, flights: SingleFlight, other: GenerationRequest, shared: bool
) -> None:
    for request in (REQUEST, replace(other, request_id="b")):
        flights.submit(request, Collected())
    assert backend.ids == (["a"] if shared else ["a", "b"])


async def test_the_computation_goes_on_until_the_last_reader_leaves(
    backend: Computations, flights: SingleFlight
) -> None:
    first, second = (flights.submit(named(name), Collected()) for name in "ab")
    first.abort()
    first.abort()
    assert not backend["a"].aborted
    second.abort()
    assert backend["a"].aborted
    flights.submit(named("c"), Collected())
    assert backend.ids == ["a", "c"]


async def test_the_end_of_a_request_that_has_left_is_nobodys(backend: Computations, flights: SingleFlight) -> None:
    reading = Collected()
    left = flights.submit(REQUEST, Collected())
    flights.submit(named("b"), reading)
    left.abort()
    backend["a"].give(chunk(1), chunk(reason=FinishReason.DEADLINE))  # of the one who left
    backend["b"].give(chunk(1), chunk(2), STOP)
    assert (reading.ids, reading.finish_reason) == ([1, 2], FinishReason.STOP)


EARLY_ENDS = [
    pytest.param(chunk(reason=FinishReason.SUPERSEDED), id="superseded"),
    pytest.param(chunk(reason=FinishReason.DEADLINE), id="late"),
    pytest.param(ServingError(Reason.DEADLINE_EXCEEDED, "No time."), id="refused"),
    pytest.param(LOST, id="lost"),
]


@pytest.mark.parametrize("end", EARLY_ENDS)
async def test_who_read_along_goes_on_alone_when_the_first_ends_early(
    backend: Computations, flights: SingleFlight, end: GenerationChunk | ServingError
) -> None:
    first, second = Collected(), Collected()
    flights.submit(REQUEST, first)
    flights.submit(named("b"), second)
    backend["a"].give(chunk(1, 2), chunk(3), end)
    if isinstance(end, ServingError):
        assert (first.ids, first.error) == ([1, 2, 3], end)
    else:
        assert (first.ids, first.finish_reason) == ([1, 2, 3], end.finish_reason)
    backend["b"].give(chunk(1), chunk(2, 3, 4))
    assert second.ids == [1, 2, 3, 4]
    backend["b"].give(chunk(5, reason=FinishReason.LENGTH))
    assert (second.ids, second.finish_reason) == ([1, 2, 3, 4, 5], FinishReason.LENGTH)


async def test_who_goes_on_alone_may_leave(backend: Computations, flights: SingleFlight) -> None:
    flights.submit(REQUEST, Collected())
    handle = flights.submit(named("b"), Collected())
    backend["a"].give(LOST)
    handle.abort()
    assert backend["b"].aborted


async def test_who_goes_on_alone_and_is_refused_fails(backend: Computations, flights: SingleFlight) -> None:
    reading = Collected()
    flights.submit(REQUEST, Collected())
    flights.submit(named("b"), reading)
    backend.refusal = ServingError(Reason.OVERLOADED, "Full.")
    backend["a"].give(LOST)
    assert reading.error is backend.refusal


async def test_a_refusal_is_each_requests_own(backend: Computations, flights: SingleFlight) -> None:
    backend.refusal = ServingError(Reason.OVERLOADED, "Full.")
    for name in "ab":
        sink = Collected()
        flights.submit(named(name), sink)
        assert sink.error is backend.refusal


@pytest.mark.parametrize("item", [chunk(1), LOST], ids=["at a token", "at a failure"])
async def test_a_reader_that_leaves_with_another_gets_nothing_more(
    backend: Computations, flights: SingleFlight, item: GenerationChunk | ServingError
) -> None:
    """As the choices of one request do, which all end when one of them fails."""
    first, second = Leaving(), Collected()
    first.handles = [flights.submit(REQUEST, first), flights.submit(named("b"), second)]
    backend["a"].give(item)
    assert (second.chunks, second.error) == ([], None)
    assert not any(computation.running for computation in backend.all)
    assert backend.ids == ["a"]


TOKENS = list(range(100, 112))
EVENTS = st.one_of(
    st.tuples(st.just("join"), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("give"), st.integers(1, 4)),
    st.tuples(st.just("end early"), st.integers(0, 1)),
)


@settings(deadline=None, max_examples=300)
@given(events=st.lists(EVENTS, max_size=30), cuts=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_whichever_reader_joins_leaves_or_ends_early_each_reads_each_token_once(
    events: list[tuple[str, int]], cuts: list[int]
) -> None:
    backend = Computations()
    flights = SingleFlight(backend)
    readers: list[tuple[Collected, Handle]] = []
    left: list[tuple[Collected, list[int]]] = []  # and what they had read by then
    own_ends: list[Computation] = []

    def running() -> list[Computation]:
        return [computation for computation in backend.all if computation.running]

    for event, number in events:
        match event:
            case "join":
                sink = Collected()
                readers.append((sink, flights.submit(named(str(len(readers) + len(left))), sink)))
            case "leave" if readers:
                sink, handle = readers.pop(number % len(readers))
                handle.abort()
                left.append((sink, list(sink.ids)))
            case "give" if running():
                computation = running()[number % len(running())]
                position = computation.given
                computation.give(chunk(*TOKENS[position : min(position + number, len(TOKENS) - 1)]))
            case "end early" if running():
                computation = running()[0]
                own_ends.append(computation)
                computation.give(LOST if number else chunk(reason=FinishReason.SUPERSEDED))
    turn = 0
    while computations := running():
        for computation in computations:
            position, step = computation.given, cuts[turn % len(cuts)]
            turn += 1
            last = position + step >= len(TOKENS)
            computation.give(chunk(*TOKENS[position : position + step], reason=FinishReason.LENGTH if last else None))
    for sink, _ in readers:
        assert sink.ended.is_set()
        assert sink.ids == TOKENS[: len(sink.ids)]
        if sink.finish_reason is FinishReason.LENGTH:
            assert sink.ids == TOKENS
    failed = [sink for sink, _ in readers if sink.finish_reason is not FinishReason.LENGTH]
    assert len(failed) <= len(own_ends), "an early end is one reader's at most"
    assert all(sink.ids == read == TOKENS[: len(read)] for sink, read in left)
    assert not flights._flights
