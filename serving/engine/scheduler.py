"""Scheduler: which sequences have a row in the next step, how much of each is computed, and on which pages.

It plans steps before those ahead have landed: what they write is there when the next one reads it, because a runner
executes steps in order. So pages and slots that are freed may be given away at once, too.
"""

from bisect import insort
from collections.abc import Iterator, Mapping

from serving.engine.adapters import AdapterSlots, NoAdapters
from serving.engine.kv_pages import KvPages
from serving.engine.request import Priority
from serving.engine.sequence import Sequence, SequenceState
from serving.engine.step_plan import StepPlan
from sharding.step import MAX_STOP_IDS, Limits, Opening, Row

AGEING_STEPS = 8
"""A NORMAL sequence that URGENT ones pause has a row again this many steps after its last.

The prompt of a completion takes fewer steps than this, so it loses at most one of them to ageing; and under a permanent
flood of completions an answer that is being read stalls for a fraction of a second, and NORMAL work keeps an eighth of
the steps.
"""


class Scheduler:
    """Continuous batching with chunked prefill, by class.

    A running sequence has pages; each step deals out rows and tokens anew. URGENT sequences get them first; within a
    class the running ones, in the order of their arrival and with a token set aside for each that decodes; then the
    waiting ones, by deadline. One without a row is paused: it keeps its pages and loses nothing. It follows that:

    - An URGENT sequence starts in the first step after its arrival, whatever NORMAL ones are running: they cannot keep
      rows, tokens or pages from it. Only URGENT ones ahead of it can, and ageing, for one step.
    - Ageing: `AGEING_STEPS` steps after the last progress of a running NORMAL sequence (of the first waiting one that
      has its adapter, if none is running), NORMAL goes first in one step, at most one in `AGEING_STEPS`. All that
      decode have a row in it: at most `max_rows` of a class are running, because one starts only when all running ones
      have a row. So a decoding sequence makes progress in one of any `AGEING_STEPS` steps while it keeps its pages, and
      so does the oldest prefill.
    - When pages run short, a running sequence takes those of the ones behind it: NORMAL before URGENT, of a class the
      last to arrive first. A waiting one takes those of a lower class only. The preempted wait again, and compute again
      what the prefix cache has lost. Ageing takes no pages from URGENT ones.
    - None starts past one that waits, so pages that are freed go to the first in line; but one that waits for its
      adapter to be loaded holds up no other, and one for which there is no place among the adapters holds up only
      those that have none yet, so that the places are given back. A sequence that has waited for a place for
      `AGEING_STEPS` steps gets one before all that came later, of any class, and keeps it while its adapter is read.
    - A prompt is scored at the outputs of a step, of which there are `max_rows`: its row has one, as every row, and
      those that no row has. So what is scored advances in each step in which it has a row, and takes little of it.
    - Every step makes progress, and everything ends: of the most urgent class present, the oldest running sequence
      loses its pages to none, can take all others', and fits into the pool alone; so does the first that waits, if
      none is running. It advances in every step that ageing does not give to others.

    Attributes:
      waiting: sequences without pages, of each class in the order in which they start.
      running: sequences with pages, by class, then by arrival.
      pages: those of the KV cache.
      preemptions: sequences that lost their pages to another one, so far.
      prompt_tokens: in the prompts of the sequences that were started, so far.
      cached_tokens: how many of those the prefix cache held.
    """

    def __init__(self, limits: Limits, adapters: AdapterSlots | None = None) -> None:
        self._limits = limits
        self._adapters = adapters or AdapterSlots(0, NoAdapters())
        # With at least one token a step for every row, a running prefill is never starved by decodes of its class.
        self.max_rows = min(limits.max_rows, limits.max_step_tokens)
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self._step = 0
        self._last_turn = 0  # the last step in which NORMAL went first
        self.reset()

    def reset(self) -> None:
        """Forgets every sequence, page and prefix."""
        self.waiting: dict[Priority, list[Sequence]] = {priority: [] for priority in Priority}
        self.running: list[Sequence] = []
        self.pages = KvPages(self._limits.page_size, self._limits.num_pages)
        self._free_slots = list(range(self._limits.slots))  # `max_rows` of each class, and those whose last step runs
        self._blocked: tuple[Sequence, int] | None = None  # which sequence last found too few pages, and how many

    def __iter__(self) -> Iterator[Sequence]:
        """All sequences, running and waiting."""
        yield from self.running
        for waiting in self.waiting.values():
            yield from waiting

    def add(self, sequence: Sequence) -> None:
        """Queues a new sequence."""
        sequence.last_step = self._step
        self._wait(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Takes out a sequence, waiting or running, and frees its pages."""
        if sequence.state is SequenceState.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting[sequence.priority].remove(sequence)
        self._release(sequence, SequenceState.FINISHED)
        if sequence.adapter is not None:
            self._adapters.give_back(sequence.adapter)

    def schedule(self, max_draws: int = 1) -> StepPlan:
        """Plans the next step, and records that it will be launched.

        It is empty when there is no sequence, or when each of them needs to know what steps in flight draw.

        Args:
          max_draws: how many tokens a row may draw if all rows decode and no other sequence could use the step.
        """
        self._step += 1
        plan = StepPlan()
        budget = self._limits.max_step_tokens
        may_start = True
        ready = self._ready()
        for priority in self._order(ready):
            budget = self._go_on(plan, priority, budget)
            waiting = ready[priority]
            while may_start and waiting and budget and self._has_room(plan) and self._start(plan, waiting[0]):
                sequence = waiting.pop(0)
                self.waiting[priority].remove(sequence)
                insort(self.running, sequence, key=_seniority)
                budget -= self._add(plan, sequence, sequence.unlaunched, budget)
            may_start = may_start and not waiting
        plan.share_outputs(self.max_rows)
        most = max_draws if max_draws > 1 and self._may_loop(plan) else 1
        for sequence, tokens, draws in zip(plan.sequences, plan.tokens, plan.draws, strict=True):
            plan.rows.append(self._launch(sequence, tokens, most if draws else 0))
        return plan

    def land(self, sequence: Sequence, row: Row, token_ids: list[int]) -> None:
        """Records that a step has landed. Only now may other sequences use what it wrote.

        Args:
          sequence: one that has not ended.
          row: its share of the step.
          token_ids: what it drew, without what ends it.
        """
        sequence.token_ids += token_ids
        if sequence.state is not SequenceState.RUNNING:
            return  # it has lost its pages since
        first_page = sequence.computed // self._limits.page_size
        sequence.computed = min(row.end, len(sequence.token_ids))
        for index in range(first_page, sequence.computed // self._limits.page_size):
            self.pages.offer(sequence, index)

    def _order(self, ready: Mapping[Priority, list[Sequence]]) -> list[Priority]:
        """The classes in the order in which they are served in this step; `ready` is what `_ready` gives."""
        running = [sequence for sequence in self.running if sequence.priority is Priority.NORMAL]
        first_in_line = running or ready[Priority.NORMAL][:1]
        due = self._step - AGEING_STEPS
        if self._last_turn <= due and any(sequence.last_step <= due for sequence in first_in_line):
            self._last_turn = self._step
            return [Priority.NORMAL, Priority.URGENT]
        return [Priority.URGENT, Priority.NORMAL]

    def _ready(self) -> dict[Priority, list[Sequence]]:
        """Those of `waiting` that wait for no adapter; gives out the places of adapters first."""
        for sequence in self._by_turn():
            sequence.adapter = self._adapters.take(sequence.request.adapter)
            if sequence.adapter is None:
                break
        return {
            priority: [sequence for sequence in waiting if not sequence.waits_for_adapter]
            for priority, waiting in self.waiting.items()
        }

    def _by_turn(self) -> list[Sequence]:
        """Those that need a place among the adapters: by arrival after `AGEING_STEPS`, before that by class."""
        placeless = [
            sequence
            for waiting in self.waiting.values()
            for sequence in waiting
            if sequence.request.adapter and sequence.adapter is None
        ]
        due = self._step - AGEING_STEPS
        return sorted(placeless, key=lambda each: (0, each.arrival) if each.last_step <= due else (1, 0))

    def _go_on(self, plan: StepPlan, priority: Priority, budget: int) -> int:
        """Plans the running sequences of a class; returns what is left of the token budget."""
        running = [(sequence, sequence.unlaunched) for sequence in self.running if sequence.priority is priority]
        set_aside = sum(left == 1 for _, left in running)
        for sequence, left in running:
            if not self._has_room(plan) or budget == 0:
                break
            if sequence.state is not SequenceState.RUNNING:
                continue  # one ahead of it in this step took its pages
            if left == 1:
                set_aside -= 1
                if self._cover(plan, sequence):
                    budget -= self._add(plan, sequence, left, budget)
            elif left and budget > set_aside:
                budget -= self._add(plan, sequence, left, budget - set_aside)
        return budget

    def _add(self, plan: StepPlan, sequence: Sequence, left: int, budget: int) -> int:
        if sequence.scores:
            budget = min(budget, plan.outputs_left(self.max_rows))
        return plan.add(sequence, left, min(budget, sequence.most_at_once))

    def _has_room(self, plan: StepPlan) -> bool:
        return len(plan.sequences) < self.max_rows

    def _may_loop(self, plan: StepPlan) -> bool:
        """Whether all in the plan decode, and no other sequence could use a step that comes before they are done."""
        if any(self.waiting.values()) or max(plan.tokens, default=0) > 1 or not all(plan.draws):
            return False
        return len(plan.sequences) == sum(sequence.unlaunched > 0 for sequence in self.running)

    def _launch(self, sequence: Sequence, tokens: int, max_draws: int) -> Row:
        """Makes a sequence's row, and records that its step will run."""
        assert sequence.slot is not None, "a running sequence has a slot"
        start = sequence.launched
        draws = self._reserve(sequence, max_draws) if max_draws > 1 else max_draws
        known = sequence.known_pages
        row = Row(
            slot=sequence.slot,
            start=start,
            token_ids=sequence.token_ids[start : start + tokens],
            targets=sequence.targets(tokens),
            draws=draws,
            pages=sequence.pages[known:],
            first_page=known,
            opening=None if sequence.opened else _opening(sequence),
        )
        sequence.opened = True
        sequence.known_pages = len(sequence.pages)
        sequence.launched = row.end
        sequence.scored += len(row.targets)
        sequence.drawing += draws
        sequence.in_flight += 1
        sequence.last_step = self._step
        return row

    def _reserve(self, sequence: Sequence, most: int) -> int:
        """Returns how many tokens a decoding sequence may draw, and gives it free pages for them."""
        draws = min(most, sequence.max_length - sequence.length)
        needed = self.pages.count_for(sequence.length + draws - 1)
        while len(sequence.pages) < needed and self.pages.pool.free_pages:
            sequence.pages.append(self.pages.allocate())
        return min(draws, len(sequence.pages) * self._limits.page_size - sequence.length + 1)

    def _start(self, plan: StepPlan, sequence: Sequence) -> bool:
        """Gives a waiting sequence a slot, and pages for all its tokens, cached ones first.

        False when there are too few pages, or when a step that it was in before it lost its pages has not landed.
        """
        if sequence.in_flight:
            return False
        victims = [other for other in self._behind(plan, sequence) if other.priority > sequence.priority]
        available = self.pages.pool.free_pages + sum(len(victim.pages) for victim in victims)
        if self._blocked is not None and sequence is self._blocked[0] and available <= self._blocked[1]:
            return False  # a long prompt is not matched again in every step
        pages = self.pages.share_prefix(sequence)
        cached = len(pages)
        missing = self.pages.count_for(len(sequence.token_ids)) - cached
        if not self._make_room(missing, victims):
            self.pages.give_back(pages)
            self._blocked = (sequence, available)
            return False
        self._blocked = None
        pages.extend(self.pages.allocate() for _ in range(missing))
        sequence.pages = pages
        sequence.slot = self._free_slots.pop()
        sequence.launched = sequence.computed = cached * self._limits.page_size
        sequence.state = SequenceState.RUNNING
        if sequence.cached_tokens is None:  # not when it starts again after a preemption
            sequence.cached_tokens = sequence.computed
            self.prompt_tokens += len(sequence.request.prompt_ids)
            self.cached_tokens += sequence.cached_tokens
        return True

    def _cover(self, plan: StepPlan, sequence: Sequence) -> bool:
        """Makes the pages of a running sequence cover its newest token; False when there is none for it."""
        if len(sequence.pages) * self._limits.page_size < sequence.length:
            if not self._make_room(1, self._behind(plan, sequence)):
                return False
            sequence.pages.append(self.pages.allocate())
        return True

    def _behind(self, plan: StepPlan, sequence: Sequence) -> list[Sequence]:
        """The running sequences whose pages a sequence may need: those after it that have no row in this step."""
        seniority = _seniority(sequence)
        return [other for other in self.running if _seniority(other) > seniority and other not in plan.sequences]

    def _make_room(self, pages: int, victims: list[Sequence]) -> bool:
        """Preempts from the last victim on until so many pages are free; none when all of them are not enough."""
        if self.pages.pool.free_pages + sum(len(victim.pages) for victim in victims) < pages:
            return False
        while self.pages.pool.free_pages < pages and victims:
            victim = victims.pop()
            self.running.remove(victim)
            self._release(victim, SequenceState.WAITING)
            self._wait(victim)
            self.preemptions += 1
        return self.pages.pool.free_pages >= pages

    def _wait(self, sequence: Sequence) -> None:
        insort(self.waiting[sequence.priority], sequence, key=lambda other: other.rank)

    def _release(self, sequence: Sequence, state: SequenceState) -> None:
        self.pages.give_back(sequence.pages)
        if sequence.slot is not None:
            self._free_slots.append(sequence.slot)
        sequence.slot = None
        sequence.opened = False
        sequence.pages = []
        sequence.known_pages = 0
        sequence.launched = sequence.computed = 0
        sequence.state = state


def _seniority(sequence: Sequence) -> tuple[Priority, int]:
    return (sequence.priority, sequence.arrival)


def _opening(sequence: Sequence) -> Opening:
    request = sequence.request
    # All that was drawn has landed: what is in flight does not start again.
    token_ids = list(sequence.token_ids) if request.sampling.has_penalties else []
    return Opening(
        sampling=request.sampling,
        stop_ids=sorted(request.stop_ids)[:MAX_STOP_IDS],
        token_ids=token_ids,
        prompt_tokens=len(request.prompt_ids) if token_ids else 0,
        adapter=0 if sequence.adapter is None else sequence.adapter.number,
    )
