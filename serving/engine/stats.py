"""EngineStats: what an engine says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """The state of the engine, and totals since its start.

    Attributes:
      queued: requests that wait to start, newly submitted and preempted ones included.
      queued_urgent, queued_normal: the same by class.
      queued_tokens: tokens in the prompts of those.
      running: requests with pages, of which those with a row make progress in the step.
      free_pages: pages that no running request uses; the prefix cache keeps contents in some of them.
      prompt_tokens, cached_tokens: of the requests that were started, and how many the prefix cache held.
      adapter_loads, adapter_failures: adapters that were loaded, each time that they were, and that could not be.
      superseded: requests that ended because a newer one of their session came.
      deadline_drops: requests, queued or running, that reached their deadline.
      refused_for_deadline: requests that were refused because they could not meet it.
      step_seconds: mean time of recent steps in the model; 0 before the first few.
    """

    queued: int
    queued_urgent: int
    queued_normal: int
    queued_tokens: int
    running: int
    free_pages: int
    total_pages: int
    steps: int
    generated_tokens: int
    prompt_tokens: int
    cached_tokens: int
    preemptions: int
    adapter_loads: int
    adapter_failures: int
    aborted: int
    superseded: int
    deadline_drops: int
    refused_for_deadline: int
    step_seconds: float
