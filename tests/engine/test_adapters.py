"""Adapters are loaded as they are asked for, kept while they are used, and never mixed up."""

import threading
import time
from collections import defaultdict
from concurrent.futures import wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.adapters import AdapterSource, ReadAdapter
from serving.engine.engine import AdapterNotFound, AdapterUnusable, Engine
from serving.engine.request import FinishReason, GenerationRequest, Priority
from serving.engine.scheduler import AGEING_STEPS
from tests.engine.simulated import (
    TIMEOUT_S,
    Receiver,
    SimulatedRunner,
    expected_answer,
    limits_of,
    request_of,
    submit,
)

PROMPT = (1, 2, 3, 4, 5, 6, 7, 8, 9)


class Shelf(AdapterSource):
    """Adapters by name: the stamp is the version."""

    def __init__(self, runner: SimulatedRunner, **versions: str) -> None:
        self.versions = versions
        self.reads: dict[str, int] = defaultdict(int)
        self.damaged: set[str] = set()
        self.unreadable: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.on_their_way = 0
        self.most_on_their_way = 0
        self._runner = runner

    def stamp(self, name: str) -> str:
        return self.versions.get(name, "")

    def read(self, name: str) -> ReadAdapter:
        assert self.gate.wait(TIMEOUT_S)
        self.reads[name] += 1
        if name in self.damaged:
            raise AdapterUnusable("tensor x is damaged")
        if name in self.unreadable:
            raise OSError("/secret: Input/output error")
        version = self.versions[name]
        self.on_their_way += 1
        self.most_on_their_way = max(self.most_on_their_way, self.on_their_way)

        def load(number: int) -> None:
            self.on_their_way -= 1
            self._runner.versions[number] = version

        return ReadAdapter(version, load)


def engine_with(adapters: int, *, num_pages: int = 64, **versions: str) -> tuple[Engine, Shelf, SimulatedRunner]:
    runner = SimulatedRunner(limits_of(adapters=adapters, num_pages=num_pages))
    shelf = Shelf(runner, **versions)
    return Engine(runner, max_queue=64, adapters=shelf), shelf, runner


def run(engine: Engine) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while engine.step():
        assert time.monotonic() < deadline, "requests wait for ever"


def answers(engine: Engine, *batch: GenerationRequest) -> list[Receiver]:
    receivers = [submit(engine, request) for request in batch]
    run(engine)
    return receivers


def expected(request: GenerationRequest, version: str) -> list[int]:
    return [token.id for token in expected_answer(request, 64, version)[0]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.sampled_from(Priority), st.integers(1, 12)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 5),
    st.integers(5, 24),
)
@settings(deadline=None, max_examples=60)
def test_any_batch_gets_the_tokens_of_its_adapters_however_few_places_and_pages_there_are(
    batch: list[tuple[str, Priority, int]], places: int, num_pages: int
) -> None:
    versions = {name: f"{name}1" for name in "abcd"}
    engine, _, _ = engine_with(places, num_pages=num_pages, **versions)
    requests = [
        request_of(f"r{i}", PROMPT, adapter=name, priority=priority, max_tokens=min(most, 4 * num_pages - 10))
        for i, (name, priority, most) in enumerate(batch)
    ]
    for request, receiver in zip(requests, answers(engine, *requests), strict=True):
        assert receiver.token_ids == expected(request, versions.get(request.adapter, ""))
    assert engine.stats().free_pages == engine.stats().total_pages


def test_an_adapter_is_read_once_and_stays_until_its_place_is_needed() -> None:
    engine, shelf, _ = engine_with(2, a="a1", b="b1", c="c1")
    for number, name in enumerate(["a", "b", "a", "c", "a", "b"]):
        answers(engine, request_of(f"r{number}", PROMPT, adapter=name))
    assert engine.stats().adapter_loads == 4
    assert shelf.reads == {"a": 1, "b": 2, "c": 1}  # c took the place of b, which was used before a


def test_pages_of_the_prefix_cache_are_shared_within_an_adapter_and_with_nobody_else() -> None:
    engine, shelf, _ = engine_with(1, a="a1", b="b1")

    def cached(request_id: str, adapter: str, cache_domain: str = "") -> int:
        (receiver,) = answers(engine, request_of(request_id, PROMPT, adapter=adapter, cache_domain=cache_domain))
        return receiver.cached_tokens

    assert cached("1", "a") == 0
    assert cached("2", "") == 0
    assert cached("3", "b") == 0
    assert cached("4", "a") == 8  # which was gone in between
    assert cached("5", "") == 8
    assert cached("6", "a", cache_domain="other") == 0
    assert cached("7", "", cache_domain="a1") == 0
    shelf.versions["a"] = "a2"
    assert cached("8", "a") == 0


def test_one_is_on_its_way_at_a_time_as_there_is_memory_for_no_more() -> None:
    engine, shelf, _ = engine_with(3, a="a1", b="b1", c="c1")
    receivers = [submit(engine, request_of(name, PROMPT, adapter=name)) for name in "abc"]
    while engine.step():
        wait([slot.loading for slot in engine._adapters._slots if slot.loading], TIMEOUT_S)
    assert all(receiver.finish_reason is FinishReason.LENGTH for receiver in receivers)
    assert (shelf.most_on_their_way, shelf.on_their_way) == (1, 0)


def test_an_adapter_that_changes_is_another_one_for_those_that_come_then() -> None:
    engine, shelf, _ = engine_with(2, a="a1")
    requests = [request_of(f"r{i}", PROMPT, adapter="a", max_tokens=20) for i in range(2)]
    before = submit(engine, requests[0])
    while not before.chunks:
        engine.step()
    shelf.versions["a"] = "a2"
    after = submit(engine, requests[1])
    run(engine)
    assert before.token_ids == expected(requests[0], "a1")
    assert after.token_ids == expected(requests[1], "a2")


def test_who_needs_no_adapter_waits_for_none_to_be_read() -> None:
    engine, shelf, _ = engine_with(2, a="a1", b="b1")
    answers(engine, request_of("loads", PROMPT, adapter="a"))
    shelf.gate.clear()
    waiting = submit(engine, request_of("waits", PROMPT, adapter="b"))
    others = [submit(engine, request_of("plain", PROMPT)), submit(engine, request_of("loaded", PROMPT, adapter="a"))]
    while not all(other.finished for other in others):
        engine.step()
    assert not waiting.chunks
    shelf.gate.set()
    run(engine)
    assert waiting.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("steps", range(2 * AGEING_STEPS))  # in which others may have had their turn
def test_an_urgent_request_goes_before_normal_ones_though_one_of_them_has_waited_long_for_its_adapter(
    steps: int,
) -> None:
    engine, shelf, _ = engine_with(1, a="a1")
    shelf.gate.clear()
    waiting = submit(engine, request_of("waits", PROMPT, adapter="a"))
    submit(engine, request_of("steps", priority=Priority.URGENT, max_tokens=20))
    for _ in range(steps):
        engine.step()
    normal = submit(engine, request_of("normal", range(16)))
    urgent = submit(engine, request_of("urgent", range(15), priority=Priority.URGENT))
    while not urgent.chunks:
        engine.step()
        assert not normal.chunks
    shelf.gate.set()
    run(engine)
    assert all(receiver.finish_reason is FinishReason.LENGTH for receiver in (waiting, normal, urgent))


def test_loaded_ones_are_told_as_long_as_they_are_what_is_on_disk() -> None:
    engine, shelf, _ = engine_with(2, a="a1", b="b1", c="c1")
    assert engine.loaded_adapters == []
    answers(engine, request_of("1", adapter="b"), request_of("2", adapter="a"))
    assert engine.loaded_adapters == ["a", "b"]
    answers(engine, request_of("3", adapter="c"))
    assert engine.loaded_adapters == ["a", "c"]
    shelf.versions["a"] = "a2"
    assert engine.loaded_adapters == ["c"]


def test_who_finds_no_place_gets_one_before_those_behind_it() -> None:
    engine, _, _ = engine_with(1, a="a1", b="b1")
    ended: list[str] = []

    def submit_named(request: GenerationRequest) -> None:
        def on_chunk(chunk: object) -> None:
            if getattr(chunk, "finish_reason", None) is not None:
                ended.append(request.request_id)

        engine.submit(request, on_chunk)

    for name in ("a-first", "b", "a-later", "plain"):
        submit_named(request_of(name, PROMPT, adapter=name[0] if name[0] in "ab" else "", max_tokens=4))
    run(engine)
    assert [name for name in ended if name != "plain"] == ["a-first", "b", "a-later"]
    assert ended.index("plain") < ended.index("b")


def test_one_that_is_damaged_ends_its_requests_alone_and_is_read_again_once_it_changes() -> None:
    engine, shelf, _ = engine_with(1, a="a1", b="b1")
    shelf.damaged = {"b"}
    good, bad, plain = answers(engine, request_of("1", adapter="a"), request_of("2", adapter="b"), request_of("3"))
    assert (good.finish_reason, plain.finish_reason) == (FinishReason.LENGTH, FinishReason.LENGTH)
    assert bad.finish_reason is FinishReason.ADAPTER_FAILED
    assert bad.chunks[-1].error == "the adapter 'b' cannot be loaded: tensor x is damaged"
    shelf.damaged = set()
    with pytest.raises(AdapterUnusable, match="'b' cannot be loaded: tensor x is damaged"):
        engine.submit(request_of("4", adapter="b"), Receiver())
    assert shelf.reads["b"] == 1
    shelf.versions["b"] = "b2"
    (again,) = answers(engine, request_of("5", adapter="b"))
    assert again.token_ids == expected(request_of("5"), "b2")


def test_what_is_no_fault_of_an_adapter_is_tried_again_and_not_reported() -> None:
    engine, shelf, _ = engine_with(1, a="a1")
    shelf.unreadable = {"a"}
    (bad,) = answers(engine, request_of("1", adapter="a"))
    assert bad.finish_reason is FinishReason.ADAPTER_FAILED
    assert "secret" not in (bad.chunks[-1].error or "")
    shelf.unreadable = set()
    (again,) = answers(engine, request_of("2", adapter="a"))
    assert again.finish_reason is FinishReason.LENGTH


def test_damaged_ones_take_one_place_from_good_ones_at_most() -> None:
    damaged = [f"d{number}" for number in range(6)]
    engine, shelf, _ = engine_with(3, a="a1", b="b1")
    shelf.versions |= dict.fromkeys(damaged, "1")
    shelf.damaged = {*damaged}
    for number, name in enumerate(["a", "b", *damaged, "a", "b"]):
        answers(engine, request_of(f"r{number}", adapter=name))
    assert (shelf.reads["a"], shelf.reads["b"]) == (1, 1)
    assert (engine.stats().adapter_loads, engine.stats().adapter_failures) == (2, len(damaged))


def test_a_request_waiting_for_one_that_fails_and_changes_fails_and_the_next_is_served() -> None:
    engine, shelf, _ = engine_with(1, a="a1")
    shelf.damaged = {"a"}
    shelf.gate.clear()
    before = submit(engine, request_of("1", adapter="a"))
    engine.step()
    shelf.versions["a"] = "a2"
    shelf.gate.set()
    run(engine)
    assert before.finish_reason is FinishReason.ADAPTER_FAILED
    shelf.damaged = set()
    (after,) = answers(engine, request_of("2", adapter="a"))
    assert after.token_ids == expected(request_of("2"), "a2")


arrivals = st.tuples(st.sampled_from("abc"), st.sampled_from(Priority), st.integers(1, 6))


@given(st.lists(arrivals, min_size=1, max_size=10), st.lists(arrivals, min_size=1, max_size=6), st.integers(1, 2))
@settings(deadline=None, max_examples=40)
def test_everybody_is_answered_however_many_come_later_for_other_adapters_and_more_urgently(
    batch: list[tuple[str, Priority, int]], stream: list[tuple[str, Priority, int]], places: int
) -> None:
    engine, _, _ = engine_with(places, a="a1", b="b1", c="c1")

    def request(request_id: str, arrival: tuple[str, Priority, int]) -> GenerationRequest:
        name, priority, most = arrival
        return request_of(request_id, adapter=name, priority=priority, max_tokens=most)

    receivers = [submit(engine, request(f"first-{number}", each)) for number, each in enumerate(batch)]
    for step in range(1000):
        if engine.in_flight < 30:
            submit(engine, request(f"later-{step}", stream[step % len(stream)]))
        engine.step()
        wait([slot.loading for slot in engine._adapters._slots if slot.loading], TIMEOUT_S)
        if all(receiver.finished for receiver in receivers):
            break
    assert all(receiver.finish_reason is FinishReason.LENGTH for receiver in receivers)


def test_a_normal_request_for_one_adapter_gets_its_place_though_urgent_ones_overlap_for_another() -> None:
    engine, _, _ = engine_with(1, a="a1", b="b1")
    urgent = Priority.URGENT
    submit(engine, request_of("u", adapter="a", priority=urgent, max_tokens=6))
    waiting = submit(engine, request_of("n", adapter="b", max_tokens=4))
    for step in range(100):
        if engine.in_flight < 4:
            submit(engine, request_of(f"u{step}", adapter="a", priority=urgent, max_tokens=6))
        engine.step()
        wait([slot.loading for slot in engine._adapters._slots if slot.loading], TIMEOUT_S)
    assert waiting.token_ids == expected(request_of("n", max_tokens=4), "b1")


def test_a_place_in_which_an_adapter_was_just_loaded_is_that_of_who_asked() -> None:
    engine, shelf, _ = engine_with(1, a="a1", b="b1")
    shelf.gate.clear()
    asked = submit(engine, request_of("n", adapter="a", max_tokens=2))
    engine.step()
    urgent = submit(engine, request_of("u", adapter="b", priority=Priority.URGENT, max_tokens=2))
    shelf.gate.set()
    run(engine)
    assert asked.finished and urgent.finished
    assert shelf.reads == {"a": 1, "b": 1}


def test_one_that_is_removed_is_refused_while_those_that_have_it_go_on() -> None:
    engine, shelf, _ = engine_with(1, a="a1", b="b1")
    running = submit(engine, request_of("runs", PROMPT, adapter="a", max_tokens=20))
    while not running.chunks:
        engine.step()
    waiting = submit(engine, request_of("waits", PROMPT, adapter="b"))
    shelf.versions.clear()
    with pytest.raises(AdapterNotFound, match="no adapter 'a'"):
        engine.submit(request_of("late", PROMPT, adapter="a"), Receiver())
    run(engine)
    assert running.token_ids == expected(request_of("runs", PROMPT, max_tokens=20), "a1")
    assert waiting.finish_reason is FinishReason.ADAPTER_NOT_FOUND
    assert waiting.chunks[-1].error == "there is no adapter 'b' any more"


def test_a_request_for_an_adapter_ends_at_its_deadline_and_when_it_is_aborted_though_nothing_is_loaded() -> None:
    engine, shelf, _ = engine_with(1, a="a1")
    shelf.gate.clear()
    late = submit(engine, request_of("late", adapter="a", timeout_s=0.01))
    aborted = submit(engine, request_of("aborted", adapter="a"))
    engine.step()
    engine.abort("aborted")
    run(engine)
    shelf.gate.set()
    assert (late.finish_reason, aborted.finish_reason) == (FinishReason.DEADLINE, FinishReason.ABORTED)
