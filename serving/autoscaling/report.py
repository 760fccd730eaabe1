"""ReplicaReport: what a replica group tells the autoscaler, as Ray Serve's `record_autoscaling_stats` carries it."""

from collections.abc import Mapping
from dataclasses import dataclass

# Ray Serve's own `running_requests` shares the name space.
QUEUED_REQUESTS = "engine_queued_requests"
RUNNING_REQUESTS = "engine_running_requests"
ROWS = "engine_rows"
QUEUED_TOKENS = "engine_queued_tokens"
WAITING_REQUESTS = "gateways_waiting_requests"
STATS = (QUEUED_REQUESTS, RUNNING_REQUESTS, ROWS, QUEUED_TOKENS, WAITING_REQUESTS)

TOKENS_OF_A_REQUEST = 2048
"""A queued prompt longer than this counts as several: completion in an editor sends less, chat about a file more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One replica group at one moment.

    Attributes:
      queued: requests in the group that have no row yet.
      running: requests with a row.
      rows: requests that can run at the same time; at least 1.
      queued_tokens: prompt tokens of the queued requests.
      waiting: requests that wait in the Gateways, assigned to no group; every group of a model gets the same number.
    """

    queued: float
    running: float
    rows: float
    queued_tokens: float
    waiting: float

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows={self.rows:g}: a replica group has at least 1.")

    @property
    def queued_work(self) -> float:
        """Queued requests, or as many of usual length as have their tokens."""
        return max(self.queued, self.queued_tokens / TOKENS_OF_A_REQUEST)

    def to_stats(self) -> dict[str, float]:
        """What `record_autoscaling_stats` returns."""
        values = (self.queued, self.running, self.rows, self.queued_tokens, self.waiting)
        return {name: float(value) for name, value in zip(STATS, values, strict=True)}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> "ReplicaReport":
        """Raises KeyError when one of STATS is missing."""
        return cls(
            queued=stats[QUEUED_REQUESTS],
            running=stats[RUNNING_REQUESTS],
            rows=stats[ROWS],
            queued_tokens=stats[QUEUED_TOKENS],
            waiting=stats[WAITING_REQUESTS],
        )
