"""A simulated group keeps the time that the engine's scheduler makes of the same requests."""

import random
from collections.abc import Sequence as Many

import pytest

from serving.autoscaling.pace import Pace
from serving.autoscaling.simulated_group import Answer, SimulatedGroup
from serving.autoscaling.traffic import Request
from serving.engine.request import GenerationRequest, Priority
from serving.engine.scheduler import Scheduler
from serving.engine.sequence import Sequence
from serving.quantile import quantile
from sharding.step import Limits

PACE = Pace(step_s=0.0125, row_s=0.0005, prompt_token_s=0.0000625, step_tokens=1024)


def answers_of(group: SimulatedGroup, requests: Many[Request]) -> list[Answer]:
    answers: list[Answer | None] = []
    for request in requests:
        while group.next_event <= request.arrival_s:
            answers.append(group.advance())
        group.take(request, request.arrival_s)
    while group.ongoing:
        answers.append(group.advance())
    return [answer for answer in answers if answer is not None]


def scheduled(requests: Many[Request], pace: Pace, rows: int) -> list[tuple[float, float]]:
    """Times to the first token, and tokens a second after it, of each request by the engine's own scheduler."""
    limits = Limits(page_size=64, num_pages=1 << 16, max_rows=rows, max_step_tokens=1024, max_context=8192)
    scheduler = Scheduler(limits)
    arrivals, first_at, result = list(enumerate(requests)), dict[int, float](), dict[int, tuple[float, float]]()
    now = 0.0
    while len(result) < len(requests):
        while arrivals and arrivals[0][1].arrival_s <= now:
            scheduler.add(_sequence(*arrivals.pop(0)))
        plan = scheduler.schedule()
        if not plan.rows:
            now = arrivals[0][1].arrival_s
            continue
        decoding = sum(row.num_tokens == 1 for row in plan.rows)
        prompts = sum(row.num_tokens for row in plan.rows if row.num_tokens > 1)
        now += pace.decode_s(decoding) + prompts * pace.prompt_token_s
        for sequence, row in zip(plan.sequences, plan.rows, strict=True):
            sequence.in_flight, sequence.drawing = 0, 0
            scheduler.land(sequence, row, [1] * row.draws)
            first = first_at.setdefault(sequence.arrival, now) if row.draws else now
            if len(sequence.token_ids) == sequence.max_length:
                scheduler.remove(sequence)
                request = requests[sequence.arrival]
                rate = request.generated / (now - first) if now > first else float("inf")
                result[sequence.arrival] = (first - request.arrival_s, rate)
    return [result[index] for index in range(len(requests))]


def _sequence(index: int, request: Request) -> Sequence:
    asked = GenerationRequest(
        request_id=str(index),
        prompt_ids=(1,) * int(request.prompt),
        max_tokens=int(request.generated),
        priority=Priority.URGENT if request.is_urgent else Priority.NORMAL,
        cache_domain=str(index),  # what is cached is no part of `prompt`
    )
    length = int(request.prompt + request.generated)
    return Sequence(request=asked, on_chunk=lambda _: None, max_length=length, arrival=index, sent_at=0.0)


def random_requests(per_s: float, prompt: float, generated: float, count: int, *, urgent: float = 0) -> list[Request]:
    rng = random.Random(0)
    now, requests = 0.0, []
    for _ in range(count):
        now += rng.expovariate(per_s)
        tokens = min(8000.0, 2 + rng.expovariate(1 / prompt)), min(150.0, 1 + rng.expovariate(1 / generated))
        requests.append(Request(now, int(tokens[1]), int(tokens[0]), rng.random() < urgent))
    return requests


@pytest.mark.parametrize(("per_s", "rows"), [(2, 16), (10, 16), (15, 16), (10, 3)])
def test_first_tokens_and_answers_take_as_long_as_the_engines_scheduler_has_them(per_s: float, rows: int) -> None:
    requests = random_requests(per_s, 450, 24, 1000)
    got = answers_of(SimulatedGroup(PACE, rows, 0.0), requests)
    expected = scheduled(requests, PACE, rows)
    assert len(got) == len(requests)
    for q in (0.5, 0.95):
        first = quantile(sorted(answer.first_token_s for answer in got), q)
        assert first == pytest.approx(quantile(sorted(first for first, _ in expected), q), rel=0.35)
    longer = {request for request in requests if request.generated >= 16}
    rates = sorted(answer.tokens_per_s or 0.0 for answer in got if answer.request in longer)
    theirs = sorted(rate for (_, rate), request in zip(expected, requests, strict=True) if request in longer)
    assert quantile(rates, 0.05) == pytest.approx(quantile(theirs, 0.05), rel=0.35)


def test_completions_beside_chats_have_their_first_token_as_soon_as_the_engines_scheduler_lets_them() -> None:
    requests = random_requests(6, 900, 60, 800, urgent=0.7)
    got = answers_of(SimulatedGroup(PACE, 16, 0.0), requests)
    expected = [first for (first, _), one in zip(scheduled(requests, PACE, 16), requests, strict=True) if one.is_urgent]
    first = sorted(answer.first_token_s for answer in got if answer.request.is_urgent)
    assert quantile(first, 0.95) == pytest.approx(quantile(sorted(expected), 0.95), rel=0.35)


def test_alone_a_request_takes_its_steps_and_no_more() -> None:
    group = SimulatedGroup(PACE, 4, 0.0)
    (answer,) = answers_of(group, [Request(5.0, 40, 2000)])
    assert answer.first_token_s == pytest.approx(2 * PACE.step_s + 2000 * PACE.prompt_token_s)
    assert answer.tokens_per_s == pytest.approx(1 / PACE.decode_s(1))


def test_a_prompt_waits_for_the_step_that_runs() -> None:
    group = SimulatedGroup(PACE, 4, 0.0)
    _, second = sorted(answers_of(group, [Request(0.0, 500, 10), Request(1.0, 1, 100)]), key=lambda one: one.request)
    assert second.first_token_s == pytest.approx(2 * PACE.decode_s(1) + 100 * PACE.prompt_token_s)


def test_requests_beyond_the_rows_are_queued() -> None:
    group = SimulatedGroup(PACE, 2, 0.0)
    for _ in range(5):
        group.take(Request(0.0, 100, 10), 0.0)
    while group.running < 2:
        group.advance()
    assert (group.running, group.queued, group.ongoing, group.rows) == (2, 3, 5, 2)
