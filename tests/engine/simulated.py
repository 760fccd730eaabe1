"""A model without a model: a runner whose answers show any mistake in the plan it was given.

The paged KV cache really exists: a step writes and reads it through the pages of its rows and nothing else. As in a
transformer, what is stored for a token depends on all tokens before it and on its position, and a sampled token
depends on everything stored for its sequence, on the seed and on the position.
"""

import threading
from collections.abc import Callable, Sequence

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority, SamplingParams, Token
from serving.engine.runner import RunnerLimits, StepRow

VOCABULARY = 11

TIMEOUT_S = 30.0
"""For what happens at once in another thread; reached only when something hangs."""


def _stored(context: Sequence[int], token_id: int) -> int:
    return hash((tuple(context), token_id))


def _sampled(context: Sequence[int], seed: int) -> int:
    return hash((tuple(context), seed, len(context))) % VOCABULARY


def expected_tokens(request: GenerationRequest, max_context: int) -> tuple[list[int], FinishReason]:
    """What a request generates when it is alone in the world: the tokens emitted, and why they end."""
    context: list[int] = []
    for token_id in request.prompt_ids:
        context.append(_stored(context, token_id))
    generated: list[int] = []
    while len(generated) < request.max_tokens and len(context) < max_context:
        token_id = _sampled(context, request.sampling.seed)
        if token_id in request.stop_ids:
            return generated, FinishReason.STOP
        generated.append(token_id)
        context.append(_stored(context, token_id))
    return generated, FinishReason.LENGTH


class SimulatedRunner:
    """Executes step plans on a simulated paged KV cache, and checks that each is one that a model can execute.

    Attributes:
      steps: the rows of each step so far.
      before_step: called at the start of each step; may raise.
    """

    def __init__(self, limits: RunnerLimits) -> None:
        self._limits = limits
        self._pages = [[0] * limits.page_size for _ in range(limits.num_pages)]
        self.steps: list[list[StepRow]] = []
        self.before_step: Callable[[], None] = lambda: None

    @property
    def limits(self) -> RunnerLimits:
        return self._limits

    def step(self, rows: Sequence[StepRow]) -> list[Token | None]:
        self.before_step()
        self._check(rows)
        self.steps.append(list(rows))
        return [self._row(row) for row in rows]

    def _row(self, row: StepRow) -> Token | None:
        size = self._limits.page_size
        context = [self._pages[row.pages[i // size]][i % size] for i in range(row.start)]
        for position, token_id in enumerate(row.token_ids, row.start):
            context.append(_stored(context, token_id))
            self._pages[row.pages[position // size]][position % size] = context[-1]
        if row.sampling is None:
            return None
        return Token(_sampled(context, row.sampling.seed))

    def _check(self, rows: Sequence[StepRow]) -> None:
        limits = self._limits
        assert 0 < len(rows) <= limits.max_rows
        assert sum(len(row.token_ids) for row in rows) <= limits.max_step_tokens
        written: list[int] = []
        for row in rows:
            assert row.token_ids, "a row computes at least one token"
            end = row.start + len(row.token_ids)
            assert end <= limits.max_context
            assert len(row.pages) == -(-end // limits.page_size), "the pages cover the tokens exactly"
            assert len(set(row.pages)) == len(row.pages)
            assert all(0 <= page < limits.num_pages for page in row.pages)
            written += row.pages[row.start // limits.page_size :]
        for page in written:
            assert sum(page in row.pages for row in rows) == 1, f"page {page} is written by one row and seen by another"


class FakeClock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Receiver:
    """Keeps the chunks of one request."""

    def __init__(self) -> None:
        self.chunks: list[GenerationChunk] = []

    def __call__(self, chunk: GenerationChunk) -> None:
        assert not self.finished, "nothing comes after the last chunk"
        self.chunks.append(chunk)

    @property
    def finished(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].finish_reason is not None

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.chunks[-1].finish_reason if self.chunks else None

    @property
    def token_ids(self) -> list[int]:
        return [token.id for chunk in self.chunks for token in chunk.tokens]

    @property
    def cached_tokens(self) -> int:
        assert all(chunk.cached_tokens == 0 for chunk in self.chunks[1:]), "only the first chunk carries it"
        return self.chunks[0].cached_tokens


class Awaited(Receiver):
    """A receiver that other threads can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = threading.Event()
        self.last = threading.Event()

    def __call__(self, chunk: GenerationChunk) -> None:
        super().__call__(chunk)
        self.first.set()
        if self.finished:
            self.last.set()


class Gate:
    """Holds a step until it is opened, and tells when one has come to it."""

    def __init__(self, runner: SimulatedRunner) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        runner.before_step = self._pass

    def _pass(self) -> None:
        self.reached.set()
        assert self.open.wait(TIMEOUT_S)


def limits_of(
    *,
    page_size: int = 4,
    num_pages: int = 64,
    max_rows: int = 4,
    max_step_tokens: int = 16,
    max_context: int = 64,
) -> RunnerLimits:
    return RunnerLimits(
        page_size=page_size,
        num_pages=num_pages,
        max_rows=max_rows,
        max_step_tokens=max_step_tokens,
        max_context=max_context,
    )


def request_of(
    request_id: str,
    prompt_ids: Sequence[int] = (1, 2, 3),
    *,
    max_tokens: int = 8,
    seed: int = 0,
    stop_ids: frozenset[int] = frozenset(),
    timeout_s: float | None = None,
    sent_at: float | None = None,
    priority: Priority = Priority.NORMAL,
    session_id: str = "",
    cache_domain: str = "",
) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id,
        prompt_ids=tuple(prompt_ids),
        max_tokens=max_tokens,
        sampling=SamplingParams(temperature=1.0, seed=seed),
        stop_ids=stop_ids,
        timeout_s=timeout_s,
        sent_at=sent_at,
        priority=priority,
        session_id=session_id,
        cache_domain=cache_domain,
    )


def submit(engine: Engine, request: GenerationRequest) -> Receiver:
    receiver = Receiver()
    engine.submit(request, receiver)
    return receiver


def run_until_idle(engine: Engine, *, max_steps: int = 10_000) -> int:
    """Steps until nothing is left to do; returns the number of steps."""
    for steps in range(max_steps):
        if not engine.step():
            return steps
    raise AssertionError(f"still busy after {max_steps} steps: {engine.stats()}")
