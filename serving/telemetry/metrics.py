"""Every metric of the service: the one list, of which docs/metrics.md tells and the chart's alerts and dashboards draw.

Prometheus sees them with `ray_` before their names, as Ray exports them, and with labels of Ray's own beside these.
"""

from dataclasses import dataclass
from typing import Literal

_PREFIX = "ray_"
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

_LATENCY_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 15.0, 60.0)
"""Fine from 5 ms to 5 s, where it is decided whether a completion comes in time; beyond are long chats."""
_STALL_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEP_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      name: as it is recorded; counters without `_total`, which is added on export.
      help: what it counts, in one sentence.
      labels: their names.
      buckets: upper bounds of a histogram's buckets.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that Prometheus sees."""
        return tuple(f"{_PREFIX}{self.name}{suffix}" for suffix in _SUFFIXES[self.kind])


_GROUP = ("model",)
_REQUEST = ("model", "role", "protocol")

QUEUE_DEPTH = Metric(
    "gauge", "codegemma_queue_depth", "Requests that wait in a group for a row, by class.", ("model", "priority")
)
RUNNING_REQUESTS = Metric("gauge", "codegemma_running_requests", "Requests that have a row in a group.", _GROUP)
KV_USED_RATIO = Metric("gauge", "codegemma_kv_used_ratio", "Share of a group's KV pages that requests hold.", _GROUP)
KV_TOKENS = Metric("gauge", "codegemma_kv_tokens", "Tokens that a group's KV cache has room for.", _GROUP)
PROMPT_TOKENS = Metric("counter", "codegemma_prompt_tokens", "Prompt tokens of the requests that were started.", _GROUP)
CACHED_TOKENS = Metric("counter", "codegemma_cached_tokens", "Those of them that the prefix cache held.", _GROUP)
GENERATED_TOKENS = Metric("counter", "codegemma_generated_tokens", "Tokens generated.", _GROUP)
SUPERSEDED = Metric(
    "counter", "codegemma_superseded", "Requests that ended because a newer keystroke of their session came.", _GROUP
)
DEADLINE_DROPS = Metric(
    "counter", "codegemma_deadline_drops", "Requests dropped at their deadline, or refused because of it.", _GROUP
)
PREEMPTIONS = Metric(
    "counter",
    "codegemma_preemptions",
    "Times that a request gave its KV pages to another, to start again.",
    _GROUP,
)
ADAPTERS_LOADED = Metric(
    "gauge", "codegemma_adapters_loaded", "Adapters that a group has in memory, as they are on disk now.", _GROUP
)
ADAPTER_LOADS = Metric(
    "counter", "codegemma_adapter_loads", "Adapters loaded; many, where requests ask for more than max_loaded.", _GROUP
)
ADAPTER_FAILURES = Metric(
    "counter", "codegemma_adapter_failures", "Adapters that could not be loaded; the group's log says why.", _GROUP
)
ADAPTER_DIRECTORY_AGE = Metric(
    "gauge",
    "codegemma_adapter_directory_age_seconds",
    "Since a group or a Gateway last read which adapters there are; more than a few where a disk does not answer.",
    _GROUP,
)
ABORTED = Metric(
    "counter",
    "codegemma_aborted",
    "Requests that a Gateway ended before the model did: the client went away, or a stop text was found.",
    _GROUP,
)
RECOMPILATIONS = Metric(
    "counter", "codegemma_recompilations", "Steps compiled after the group was ready: anything but 0 is a bug.", _GROUP
)
STEP_SECONDS = Metric("histogram", "codegemma_step_seconds", "Time of one step of the model.", _GROUP, _STEP_S)
STEP_LIMIT_SECONDS = Metric(
    "gauge",
    "codegemma_step_limit_seconds",
    "Time that reading the weights takes at the memory bandwidth measured at start; a step reads all of them.",
    _GROUP,
)

REQUESTS = Metric(
    "counter",
    "codegemma_requests",
    "Requests for a generation that ended, by how: ok, cancelled, or an error's reason.",
    (*_REQUEST, "reason"),
)
TRUNCATED = Metric(
    "counter",
    "codegemma_truncated",
    "Completions whose model was not given all of the code that was sent, by the part that was left out.",
    ("model", "part"),
)
COMPLETION_EVENTS = Metric(
    "counter",
    "codegemma_completion_events",
    "What became of completions, as editors report it: shown, accepted, partly_accepted or rejected.",
    ("model", "model_version", "language", "lines", "event"),
)
ACCEPTED_CHARACTERS = Metric(
    "counter",
    "codegemma_accepted_characters",
    "Characters of completions that were accepted, in whole or in part, as editors report it.",
    ("model", "model_version", "language"),
)
REFUSED = Metric(
    "counter",
    "codegemma_refused",
    "Calls refused before they were a request for a generation, by why: no key, a malformed body and the like.",
    ("protocol", "reason"),
)
FAILED_ATTEMPTS = Metric(
    "counter",
    "codegemma_failed_attempts",
    "Calls without a valid API key or token where these are asked for, by why: none, an unknown or expired one.",
    ("reason",),
)
LIMITED = Metric(
    "counter", "codegemma_limited", "Requests refused by a limit of their tenant or key, by which.", ("limit", "whose")
)
UNCOUNTED = Metric(
    "counter", "codegemma_uncounted", "Requests let through because the store of the limits did not answer.", ()
)
OPEN_REQUESTS = Metric("gauge", "codegemma_open_requests", "Requests that a Gateway is answering.", ("protocol",))
WAITING_REQUESTS = Metric(
    "gauge", "codegemma_waiting_requests", "Requests that wait in a Gateway for a group with room.", ("model",)
)
READY_GROUPS = Metric("gauge", "codegemma_ready_groups", "Groups of a model that a Gateway is linked to.", ("model",))
LOOP_STALL_SECONDS = Metric(
    "histogram",
    "codegemma_loop_stall_seconds",
    "Of each second, the longest that work in a Gateway kept its event loop from everything else.",
    (),
    _STALL_S,
)
TIME_TO_FIRST_TOKEN = Metric(
    "histogram", "codegemma_time_to_first_token_seconds", "Until the first text of an answer.", _REQUEST, _LATENCY_S
)
TIME_PER_OUTPUT_TOKEN = Metric(
    "histogram",
    "codegemma_time_per_output_token_seconds",
    "Mean of an answer's later tokens, where one choice was asked for.",
    _REQUEST,
    _LATENCY_S,
)
REQUEST_SECONDS = Metric(
    "histogram", "codegemma_request_seconds", "Until the end of a complete answer.", _REQUEST, _LATENCY_S
)

AUTOSCALING_TARGET = Metric(
    "gauge",
    "codegemma_autoscaling_target_replicas",
    "Replica groups that the queue-depth policy wants, before Ray Serve's delays.",
    ("application", "deployment"),
)
AUTOSCALING_DECISIONS = Metric(
    "counter",
    "codegemma_autoscaling_decisions",
    "Changes of what the queue-depth policy wants, or of why.",
    ("application", "deployment", "cause"),
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, as above."""
EXPORTED: frozenset[str] = frozenset(name for metric in METRICS for name in metric.exported)
"""All names that Prometheus sees."""
