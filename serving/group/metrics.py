"""GroupMetrics: what a replica group tells of itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from serving.config import ModelConfig
from serving.engine.engine import Engine
from serving.group.runner import GroupRunner
from serving.telemetry import metrics
from serving.telemetry.recorder import Recorder

_PERIOD_S = 1.0


class GroupMetrics:
    """Records where a group's engine stands, whenever it is asked to: nothing of it is in the way of a step."""

    def __init__(self, model: ModelConfig, engine: Engine, runner: GroupRunner, recorder: Recorder) -> None:
        self._model = model.id
        self._engine = engine
        self._runner = runner
        self._recorder = recorder
        self._reported: dict[metrics.Metric, int] = {}

    def report(self) -> None:
        """Records all that happened since the last call."""
        stats, limits, model = self._engine.stats(), self._runner.limits, self._model
        record = self._recorder.record
        record(metrics.QUEUE_DEPTH, stats.queued_urgent, model=model, priority="urgent")
        record(metrics.QUEUE_DEPTH, stats.queued_normal, model=model, priority="normal")
        record(metrics.RUNNING_REQUESTS, stats.running, model=model)
        record(metrics.KV_USED_RATIO, 1 - stats.free_pages / stats.total_pages, model=model)
        record(metrics.KV_TOKENS, limits.num_pages * limits.page_size, model=model)
        record(metrics.ADAPTERS_LOADED, len(self._engine.loaded_adapters), model=model)
        record(metrics.STEP_LIMIT_SECONDS, self._runner.step_limit_s, model=model)
        if self._runner.adapters is not None:
            record(metrics.ADAPTER_DIRECTORY_AGE, self._runner.adapters.age_s, model=model)
        for seconds in self._engine.take_step_seconds():
            record(metrics.STEP_SECONDS, seconds, model=model)
        totals = {
            metrics.PROMPT_TOKENS: stats.prompt_tokens,
            metrics.CACHED_TOKENS: stats.cached_tokens,
            metrics.GENERATED_TOKENS: stats.generated_tokens,
            metrics.SUPERSEDED: stats.superseded,
            metrics.DEADLINE_DROPS: stats.deadline_drops + stats.refused_for_deadline,
            metrics.PREEMPTIONS: stats.preemptions,
            metrics.ADAPTER_LOADS: stats.adapter_loads,
            metrics.ADAPTER_FAILURES: stats.adapter_failures,
            metrics.ABORTED: stats.aborted,
            metrics.RECOMPILATIONS: self._runner.recompilations,
        }
        for metric, total in totals.items():
            record(metric, total - self._reported.get(metric, 0), model=model)
        self._reported = totals

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Reports every second while the block runs, and once more at its end, if nothing else asks for it."""
        over = threading.Event()

        def report() -> None:
            while not over.wait(_PERIOD_S):
                self.report()

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.report()
