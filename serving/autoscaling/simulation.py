"""A day of replica groups: requests queue and run, the policy decides, groups start and stop."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from operator import attrgetter

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.delays import Delays
from serving.autoscaling.policy import ModelLoad, QueueDepthPolicy
from serving.autoscaling.report import ReplicaReport
from serving.autoscaling.traffic import DAY_S, Request
from serving.quantile import quantile

TICK_S = 1.0
"""Between two decisions. Ray Serve decides ten times a second, but on reports that are seconds apart."""
INTERVAL_S = 300.0
"""Resolution of the result."""


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """What a replica group can do.

    Attributes:
      rows: requests that run at the same time.
      max_ongoing: requests that the Gateways assign to a group; those beyond `rows` queue in it and never leave.
      start_s: from the decision to the first request: the machine, the weights, compiling.
      first_token_s: from getting a row to the first token.
    """

    rows: int
    max_ongoing: int
    start_s: float
    first_token_s: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Five minutes.

    Attributes:
      start_s: seconds since midnight.
      replicas: that serve, on average.
      queued: requests without a row, at most.
      p95_s: of the time to the first token of the requests that arrived; None without requests.
    """

    start_s: float
    replicas: float
    queued: int
    p95_s: float | None


@dataclass(frozen=True, kw_only=True)
class Day:
    """What came of it.

    Attributes:
      first_token_s: time to the first token of every request that got one, ascending.
      waiting: requests that had no row yet at the end.
      replica_hours: paid for: those that start, serve or finish what they have.
      most_replicas: serving at the same time.
      changes: of the wanted number of groups.
    """

    intervals: tuple[Interval, ...]
    first_token_s: tuple[float, ...]
    waiting: int
    replica_hours: float
    most_replicas: int
    changes: int

    @property
    def requests(self) -> int:
        return len(self.first_token_s) + self.waiting

    def part_within(self, goal_s: float) -> float:
        """Part of all requests, 0 to 1, that had their first token in time."""
        return bisect_right(self.first_token_s, goal_s) / max(1, self.requests)


@dataclass(eq=False, slots=True)
class _Group:
    ready_at: float
    ongoing: int = 0
    running: int = 0
    queue: deque[Request] = field(default_factory=deque)
    report: ReplicaReport | None = None
    stopping: bool = False


_ongoing = attrgetter("ongoing")


class _Cluster:
    """Groups and the requests in front of them; time moves forward only."""

    def __init__(self, model: GroupModel, requests: Sequence[Request], on_start: Callable[[Request, float], None]):
        self.groups: list[_Group] = []
        self.serving: list[_Group] = []
        self.waiting: deque[Request] = deque()
        self._model = model
        self._requests = requests
        self._on_start = on_start
        self._arrived = 0
        self._finishing: list[tuple[float, int, _Group]] = []
        self._started = 0

    @property
    def queued(self) -> int:
        return len(self.waiting) + sum(len(group.queue) for group in self.groups)

    def advance(self, until: float) -> None:
        """Every arrival and every end before `until`, in order."""
        arrival = self._next_arrival()
        while True:
            end = self._finishing[0][0] if self._finishing else inf
            if min(arrival, end) >= until:
                break
            if end <= arrival:
                self._finish(end, heappop(self._finishing)[2])
                self._assign(end)
            else:
                self.waiting.append(self._requests[self._arrived])
                self._assign(arrival)
                self._arrived += 1
                arrival = self._next_arrival()
        self.serving = [group for group in self.groups if group.ready_at <= until and not group.stopping]
        self._assign(until)

    def resize(self, target: int, now: float) -> None:
        """Start groups, or stop those that have least to do; what is assigned to a stopped one it finishes."""
        staying = [group for group in self.groups if not group.stopping]
        self.groups += [_Group(ready_at=now + self._model.start_s) for _ in range(target - len(staying))]
        staying.sort(key=lambda group: (group.ready_at > now, -group.ongoing))
        for group in staying[target:]:
            group.stopping = True
            if not group.ongoing:
                self.groups.remove(group)
        self.serving = [group for group in self.serving if not group.stopping]

    def _next_arrival(self) -> float:
        return self._requests[self._arrived].arrival_s if self._arrived < len(self._requests) else inf

    def _assign(self, now: float) -> None:
        while self.waiting and self.serving:
            group = min(self.serving, key=_ongoing)
            if group.ongoing >= self._model.max_ongoing:
                return
            request = self.waiting.popleft()
            group.ongoing += 1
            if group.running < self._model.rows:
                self._start(request, group, now)
            else:
                group.queue.append(request)

    def _start(self, request: Request, group: _Group, now: float) -> None:
        group.running += 1
        self._started += 1
        heappush(self._finishing, (now + request.service_s, self._started, group))
        self._on_start(request, now)

    def _finish(self, now: float, group: _Group) -> None:
        group.running -= 1
        group.ongoing -= 1
        if group.queue:
            self._start(group.queue.popleft(), group, now)
        elif group.stopping and not group.ongoing:
            self.groups.remove(group)


class _Autoscaler:
    """Ray Serve's loop around the policy: reports at intervals, delays, cold starts."""

    def __init__(self, config: AutoscalingConfig, model: GroupModel) -> None:
        self.target = self._wish = config.min_replicas
        self._config = config
        self._rows = model.rows
        self._policy = QueueDepthPolicy(target_queued_per_replica=config.target_queued_per_replica)
        self._delays = Delays(upscale_s=config.upscale_delay_s, downscale_s=config.downscale_delay_s)
        self._next_report = 0.0

    def step(self, cluster: _Cluster, now: float) -> int:
        """The number of groups wanted from now on."""
        new_reports = now >= self._next_report
        if new_reports:
            self._next_report = now + self._config.metrics_interval_s
            for group in cluster.serving:
                group.report = ReplicaReport(
                    queued=len(group.queue),
                    running=group.running,
                    rows=self._rows,
                    queued_tokens=0,
                    waiting=len(cluster.waiting),
                )
        if not cluster.serving and cluster.waiting:  # Ray Serve does not ask the policy then
            self.target = max(1, self.target)
            return self.target
        if new_reports:  # otherwise the policy knows nothing new
            self._wish = self._decide(cluster)
        self.target = self._delays.follow(self._wish, target=self.target, now=now)
        return self.target

    def _decide(self, cluster: _Cluster) -> int:
        reports = tuple(group.report for group in cluster.serving if group.report is not None)
        load = ModelLoad(
            target=self.target,
            min_replicas=self._config.min_replicas,
            max_replicas=self._config.max_replicas,
            reports=reports,
            silent=len(cluster.serving) - len(reports),
            waiting=max((report.waiting for report in reports), default=0),
        )
        return self._policy.decide(load).target


def simulate(
    requests: Sequence[Request],
    autoscaling: AutoscalingConfig,
    model: GroupModel,
    *,
    end_s: float = DAY_S,
    on_progress: Callable[[float], None] = lambda part: None,
) -> Day:
    """Run one day, or a part of it, from `min_replicas` groups that serve. The same arguments give the same day.

    Args:
      requests: in order of arrival, all before `end_s`.
      autoscaling: the settings under trial.
      model: what each group can do.
      end_s: a multiple of INTERVAL_S.
      on_progress: called every simulated five minutes with the part of the day that is over.
    """
    first_tokens: list[list[float]] = [[] for _ in range(round(end_s / INTERVAL_S))]

    def on_start(request: Request, now: float) -> None:
        waited = now - request.arrival_s
        first_tokens[int(request.arrival_s // INTERVAL_S)].append(waited + model.first_token_s)

    cluster = _Cluster(model, requests, on_start)
    autoscaler = _Autoscaler(autoscaling, model)
    cluster.groups = [_Group(ready_at=0.0) for _ in range(autoscaling.min_replicas)]
    ticks = round(INTERVAL_S / TICK_S)
    serving, queued = [], []
    group_seconds, changes, most = 0.0, 0, 0
    for interval in range(len(first_tokens)):
        counts, depths = [], []
        for tick in range(ticks):
            now = (interval * ticks + tick) * TICK_S
            cluster.advance(now)
            target = autoscaler.target
            if autoscaler.step(cluster, now) != target:
                cluster.resize(autoscaler.target, now)
                changes += 1
            counts.append(len(cluster.serving))
            depths.append(cluster.queued)
            group_seconds += len(cluster.groups) * TICK_S
        serving.append(sum(counts) / ticks)
        queued.append(max(depths))
        most = max(most, *counts)
        on_progress((interval + 1) / len(first_tokens))
    cluster.advance(end_s)
    return Day(
        intervals=tuple(
            Interval(start_s=i * INTERVAL_S, replicas=serving[i], queued=queued[i], p95_s=quantile(sorted(times), 0.95))
            for i, times in enumerate(first_tokens)
        ),
        first_token_s=tuple(sorted(time for times in first_tokens for time in times)),
        waiting=cluster.queued,
        replica_hours=group_seconds / 3600,
        most_replicas=most,
        changes=changes,
    )
