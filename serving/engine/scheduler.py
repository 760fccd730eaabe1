"""Scheduler: which sequences have a row in the next step, how much of each is computed, and on which pages."""

from collections import deque
from dataclasses import dataclass, field

from serving.engine.pages import PagePool
from serving.engine.prefix_cache import PrefixCache
from serving.engine.runner import RunnerLimits, StepRow
from serving.engine.sequence import Sequence, SequenceState


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: `rows[i]` is the share of `sequences[i]`."""

    sequences: list[Sequence] = field(default_factory=list)
    rows: list[StepRow] = field(default_factory=list)


class Scheduler:
    """Continuous batching with chunked prefill, first come, first served.

    Sequences start in the order of their arrival, and the last to arrive is the first to be preempted, so every
    running sequence arrived before every waiting one, and `running` and `waiting` are both in order of arrival. The
    oldest sequence can take the pages of all others and fits into the pool alone, so every step makes progress.

    Attributes:
      preemptions: sequences that lost their pages to an older one, so far.
      prompt_tokens: in the prompts of the sequences that were started, so far.
      cached_tokens: how many of those the prefix cache held.
    """

    def __init__(self, limits: RunnerLimits) -> None:
        self._limits = limits
        # With at least one token a step for every row, a running prefill is never starved by decodes.
        self.max_rows = min(limits.max_rows, limits.max_step_tokens)
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.reset()

    def reset(self) -> None:
        """Forgets every sequence, page and prefix."""
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.pool = PagePool(self._limits.num_pages)
        self._cache = PrefixCache(self._limits.page_size)
        self._blocked: tuple[Sequence, int] | None = None  # which sequence last found too few free pages, and how many

    def add(self, sequence: Sequence) -> None:
        """Queues a new sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Takes out a sequence, waiting or running, and frees its pages."""
        if sequence.state is SequenceState.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._release(sequence, SequenceState.FINISHED)

    def schedule(self) -> StepPlan:
        """Plans the next step: a token for every decode, and prompts as far as the token budget goes.

        The plan is empty only when there is no sequence.
        """
        plan = StepPlan()
        budget = self._limits.max_step_tokens - sum(sequence.uncomputed == 1 for sequence in self.running)
        index = 0
        while index < len(self.running):  # preemption takes sequences from the end
            sequence = self.running[index]
            if sequence.uncomputed == 1:
                if self._cover(sequence):
                    self._plan_row(plan, sequence, 1)
            elif budget > 0:
                budget -= self._plan_row(plan, sequence, budget)
            index += 1
        while self.waiting and len(self.running) < self.max_rows and budget > 0 and self._start(self.waiting[0]):
            self.running.append(self.waiting.popleft())
            budget -= self._plan_row(plan, self.running[-1], budget)
        return plan

    def complete(self, plan: StepPlan) -> None:
        """Records that a step was computed. Only now may other sequences use what it wrote."""
        for sequence, row in zip(plan.sequences, plan.rows, strict=True):
            first_page = sequence.computed // self._limits.page_size
            sequence.computed += len(row.token_ids)
            for index in range(first_page, sequence.computed // self._limits.page_size):
                self._index_page(sequence, index)

    def _plan_row(self, plan: StepPlan, sequence: Sequence, budget: int) -> int:
        """Adds as much of a sequence as the budget allows; returns the number of tokens."""
        start = sequence.computed
        end = min(len(sequence.token_ids), start + budget)
        row = StepRow(
            token_ids=sequence.token_ids[start:end],
            start=start,
            pages=sequence.pages[: self._pages_for(end)],
            sampling=sequence.request.sampling if end == len(sequence.token_ids) else None,
        )
        plan.sequences.append(sequence)
        plan.rows.append(row)
        return end - start

    def _start(self, sequence: Sequence) -> bool:
        """Gives a waiting sequence pages for all its tokens, cached ones first; False when too few pages are free."""
        free_pages = self.pool.free_pages
        if self._blocked is not None and sequence is self._blocked[0] and free_pages <= self._blocked[1]:
            return False  # a long prompt is not matched again in every step
        pages = self._cache.match(sequence.token_ids)
        for page in pages:
            self.pool.share(page)
        cached = len(pages)
        missing = self._pages_for(len(sequence.token_ids)) - cached
        if self.pool.free_pages < missing:
            for page in reversed(pages):
                self.pool.free(page, keep=True)
            self._blocked = (sequence, free_pages)
            return False
        self._blocked = None
        pages.extend(self._allocate() for _ in range(missing))
        sequence.pages = pages
        sequence.computed = cached * self._limits.page_size
        sequence.state = SequenceState.RUNNING
        if sequence.cached_tokens is None:  # not when it starts again after a preemption
            sequence.cached_tokens = sequence.computed
            self.prompt_tokens += len(sequence.request.prompt_ids)
            self.cached_tokens += sequence.cached_tokens
        return True

    def _cover(self, sequence: Sequence) -> bool:
        """Makes the pages of a running sequence cover its newest token; False when it is itself preempted for that."""
        if len(sequence.pages) == self._pages_for(len(sequence.token_ids)):
            return True
        while self.pool.free_pages == 0:
            victim = self.running.pop()
            self._release(victim, SequenceState.WAITING)
            self.waiting.appendleft(victim)
            self.preemptions += 1
            if victim is sequence:
                return False
        sequence.pages.append(self._allocate())
        return True

    def _index_page(self, sequence: Sequence, index: int) -> None:
        """Offers a sequence's page to others; when another holds the same tokens, the sequence goes on with that one.

        So a page in the index never outlives the one before it: whoever uses it uses both, and frees it first.
        """
        size = self._limits.page_size
        page = sequence.pages[index]
        token_ids = tuple(sequence.token_ids[index * size : (index + 1) * size])
        indexed = self._cache.add(page, token_ids, after=sequence.pages[index - 1] if index else None)
        if indexed != page:
            self.pool.share(indexed)
            self.pool.free(page, keep=False)
            sequence.pages[index] = indexed

    def _release(self, sequence: Sequence, state: SequenceState) -> None:
        # From the last page, because a prefix is worth more than what follows it and useless without what precedes it.
        for page in reversed(sequence.pages):
            self.pool.free(page, keep=page in self._cache)
        sequence.pages = []
        sequence.computed = 0
        sequence.state = state

    def _allocate(self) -> int:
        page = self.pool.allocate()
        self._cache.forget(page)
        return page

    def _pages_for(self, tokens: int) -> int:
        return -(-tokens // self._limits.page_size)
