"""GroupTracer: the spans of what a group did for a request, written when it is over."""

import time
from concurrent.futures import ThreadPoolExecutor

from serving.engine.timeline import Timeline
from serving.telemetry.tracing import Attributes, flush_tracing, past_span, start_tracing


class GroupTracer:
    """Takes the timelines of an engine: `queue`, `prefill` and `decode`, and in these each `device step`.

    In a thread of its own: making the spans of a long answer takes longer than a step may wait.
    """

    def __init__(self) -> None:
        """Raises ValueError if spans cannot go where the environment says."""
        start_tracing()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracer")

    def __call__(self, timeline: Timeline) -> None:
        """Called by the engine's thread, once for each request that is followed."""
        to_unix_time = time.time() - time.monotonic()
        self._thread.submit(_write, timeline, to_unix_time)

    def close(self) -> None:
        """Waits until everything is written."""
        self._thread.shutdown()
        flush_tracing()


def _write(timeline: Timeline, to_unix_time: float) -> None:
    assert timeline.ended is not None
    first = next((number for number, step in enumerate(timeline.steps) if step.sampled), len(timeline.steps) - 1)
    phases = {"prefill": timeline.steps[: first + 1], "decode": timeline.steps[first + 1 :]}
    started = timeline.steps[0].started if timeline.steps else timeline.ended
    attributes: Attributes = {"cached_tokens": timeline.cached_tokens, "finish_reason": str(timeline.finish_reason)}
    past_span("queue", timeline.trace, timeline.submitted + to_unix_time, started + to_unix_time, attributes)
    for phase, steps in phases.items():
        if steps:
            times = steps[0].started + to_unix_time, steps[-1].ended + to_unix_time
            tokens = sum(step.tokens for step in steps)
            parent = past_span(phase, timeline.trace, *times, {"steps": len(steps), "tokens": tokens})
            for step in steps:
                times = step.started + to_unix_time, step.ended + to_unix_time
                past_span("device step", parent, *times, {"tokens": step.tokens})
