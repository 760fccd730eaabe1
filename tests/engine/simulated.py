"""A model without a model: a runner whose answers show any mistake in the plan it was given.

The paged KV cache really exists: a step writes and reads it through the pages of its rows and nothing else. As in a
transformer, what is stored for a token depends on all tokens before it and on its position, and a sampled token
depends on everything stored for its sequence, on the seed and on the position; with penalties also on what the slot was
told of the tokens before it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from sharding.step import MAX_DRAWS, Limits, Opening, Row, SamplingParams, Token

VOCABULARY = 11

TIMEOUT_S = 30.0
"""For what happens at once in another thread; reached only when something hangs."""


def _stored(context: Sequence[int], token_id: int, version: str = "") -> int:
    return hash((tuple(context), token_id, *([version] if version else [])))


def _sampled(
    context: Sequence[int], sampling: SamplingParams, token_ids: Sequence[int | None], prompt_tokens: int
) -> int:
    counted = (tuple(token_ids), prompt_tokens) if sampling.has_penalties else ()
    return hash((tuple(context), sampling.seed, len(context), *counted)) % VOCABULARY


def _token(context: Sequence[int], token_id: int, sampling: SamplingParams) -> Token:
    """A token after what is stored, with its log probability if that is asked for."""
    return Token(token_id, None if sampling.logprobs is None else -(hash((tuple(context), token_id)) % 997) / 100)


def expected_answer(
    request: GenerationRequest, max_context: int, version: str = ""
) -> tuple[list[Token], FinishReason]:
    """What a request is given when it is alone in the world: the tokens, and why they end.

    `version` is that of its adapter.
    """
    context: list[int] = []
    tokens: list[Token] = []
    for token_id in request.prompt_ids:
        if request.scores_prompt and context:
            tokens.append(_token(context, token_id, request.sampling))
        context.append(_stored(context, token_id, version))
    while (generated := len(context) - len(request.prompt_ids)) < request.max_tokens and len(context) < max_context:
        token_ids = [*request.prompt_ids, *(token.id for token in tokens[len(tokens) - generated :])]
        token_id = _sampled(context, request.sampling, token_ids, len(request.prompt_ids))
        if token_id in request.stop_ids:
            return tokens, FinishReason.STOP
        tokens.append(_token(context, token_id, request.sampling))
        context.append(_stored(context, token_id, version))
    return tokens, FinishReason.LENGTH


def expected_tokens(request: GenerationRequest, max_context: int) -> tuple[list[int], FinishReason]:
    """The ids of `expected_answer`."""
    tokens, reason = expected_answer(request, max_context)
    return [token.id for token in tokens], reason


@dataclass
class _Slot:
    """What the runner keeps of a sequence."""

    opening: Opening
    pages: list[int] = field(default_factory=list)
    newest: int | None = None
    history: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history.update(enumerate(self.opening.token_ids))

    def draw(self, context: Sequence[int]) -> int:
        position = len(context)
        came = [self.history.get(index) for index in range(position)]
        self.newest = _sampled(context, self.opening.sampling, came, self.opening.prompt_tokens)
        self.history[position] = self.newest
        return self.newest


class SimulatedRunner:
    """Executes steps on a simulated paged KV cache, and checks that each is one that a model can execute.

    Attributes:
      launched: the rows of the steps that have not run.
      steps: the rows of each step that ran so far.
      running_draws: the most that a row of the step that runs may draw.
      before_step: called at the start of each step; may raise.
      versions: of adapters by number, for the steps that are launched from now on.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cache = [[0] * limits.page_size for _ in range(limits.num_pages)]
        self._slots: dict[int, _Slot] = {}
        self.launched: deque[list[Row]] = deque()
        self.steps: list[list[Row]] = []
        self.running_draws = 0
        self.before_step: Callable[[], None] = lambda: None
        self.versions: dict[int, str] = {}
        self._adapters_of_launched: deque[dict[int, str]] = deque()

    @property
    def limits(self) -> Limits:
        return self._limits

    def launch(self, rows: Sequence[Row]) -> None:
        self.launched.append(list(rows))
        self._adapters_of_launched.append(dict(self.versions))
        assert len(self.launched) <= 2, "one step runs, one waits behind it"

    def land(self) -> list[list[Token]]:
        """Runs the oldest step: the time until now was the device's."""
        rows, adapters = self.launched.popleft(), self._adapters_of_launched.popleft()
        self.running_draws = max(row.draws for row in rows)
        self.before_step()
        for row in rows:
            if row.opening is not None:
                assert row.token_ids, "nothing was drawn in this slot yet"
                self._slots[row.slot] = _Slot(row.opening)
            pages = self._slots[row.slot].pages
            assert row.first_page <= len(pages), "pages follow those known"
            pages[row.first_page :] = row.pages or pages[row.first_page :]
        self._check(rows)
        self.steps.append(rows)
        return [self._draw(row, adapters) for row in rows]

    def _draw(self, row: Row, adapters: dict[int, str]) -> list[Token]:
        slot = self._slots[row.slot]
        version = adapters[slot.opening.adapter] if slot.opening.adapter else ""
        size = self._limits.page_size
        context = [self._cache[slot.pages[i // size]][i % size] for i in range(row.start)]
        if not row.token_ids:
            assert slot.newest is not None
        pending = list(row.token_ids or [slot.newest or 0])
        targets = list(row.targets)
        drawn: list[Token] = []
        sampling = slot.opening.sampling
        while pending:
            position = len(context)
            context.append(_stored(context, pending.pop(0), version))
            self._cache[slot.pages[position // size]][position % size] = context[-1]
            if targets:
                drawn.append(_token(context, targets.pop(0), sampling))
            elif not pending and len(drawn) - len(row.targets) < row.draws:
                token_id = slot.draw(context)
                drawn.append(_token(context, token_id, sampling))
                if token_id not in slot.opening.stop_ids and len(drawn) - len(row.targets) < row.draws:
                    pending.append(token_id)
        return drawn

    def _check(self, rows: Sequence[Row]) -> None:
        limits = self._limits
        assert 0 < len(rows) <= limits.max_rows
        assert len({row.slot for row in rows}) == len(rows)
        assert all(0 <= row.slot < limits.slots for row in rows)
        assert sum(row.num_tokens for row in rows) <= limits.max_step_tokens
        assert sum(row.num_outputs for row in rows) <= limits.max_rows
        assert all(len(row.targets) <= row.num_tokens - row.draws for row in rows if row.targets)
        assert all(row.draws <= 1 for row in rows) or all(row.num_tokens == 1 for row in rows)
        pages = {row.slot: self._slots[row.slot].pages for row in rows}
        for row in rows:
            mine = pages[row.slot]
            assert row.draws <= MAX_DRAWS
            assert row.end <= limits.max_context
            assert len(mine) * limits.page_size >= row.end, "the pages cover the tokens"
            assert len(set(mine)) == len(mine)
            assert all(0 <= page < limits.num_pages for page in mine)
            for page in mine[row.start // limits.page_size :]:
                assert sum(page in each for each in pages.values()) == 1, f"page {page} is written and shared"


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
    def tokens(self) -> list[Token]:
        return [token for chunk in self.chunks for token in chunk.tokens]

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
    adapters: int = 0,
) -> Limits:
    return Limits(
        page_size=page_size,
        num_pages=num_pages,
        max_rows=max_rows,
        max_step_tokens=max_step_tokens,
        max_context=max_context,
        adapters=adapters,
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
    adapter: str = "",
    scores_prompt: bool = False,
    presence_penalty: float = 0.0,
) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id,
        prompt_ids=tuple(prompt_ids),
        max_tokens=max_tokens,
        sampling=SamplingParams(
            temperature=1.0,
            seed=seed,
            presence_penalty=presence_penalty,
            logprobs=0 if scores_prompt else None,
        ),
        stop_ids=stop_ids,
        timeout_s=timeout_s,
        sent_at=sent_at,
        priority=priority,
        session_id=session_id,
        cache_domain=cache_domain,
        adapter=adapter,
        scores_prompt=scores_prompt,
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
