"""A day of replica groups: requests queue and run, the policy decides, groups start and stop."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.delays import Delays
from serving.autoscaling.pace import Pace
from serving.autoscaling.policy import ModelLoad, QueueDepthPolicy
from serving.autoscaling.report import ReplicaReport
from serving.autoscaling.simulated_group import Answer, SimulatedGroup
from serving.autoscaling.traffic import DAY_S, Request
from serving.quantile import quantile

TICK_S = 1.0
"""Between two decisions. Ray Serve decides ten times a second, but on reports that are seconds apart."""
INTERVAL_S = 300.0
"""Resolution of the result."""
_HOUR = round(3600 / INTERVAL_S)
_READ_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """What a replica group can do.

    Attributes:
      rows: requests that run at the same time.
      max_ongoing: requests that the Gateways assign to a group; those beyond `rows` queue in it and never leave.
      start_s: from the decision to the first request: the machine, the weights, compiling.
      pace: of its steps.
      first_token_s: that the first token takes besides: the way to the group and back.
    """

    rows: int
    max_ongoing: int
    start_s: float
    pace: Pace
    first_token_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Five minutes.

    Attributes:
      start_s: seconds since midnight.
      replicas: that serve, on average.
      queued: requests without a row, at most.
      answers: of the requests that arrived, once they have begun.
    """

    start_s: float
    replicas: float
    queued: int
    answers: tuple[Answer, ...]

    @property
    def p95_s(self) -> float | None:
        """Of the time to the first token; None if nobody asked."""
        return quantile(sorted(answer.first_token_s for answer in self.answers), 0.95)


@dataclass(frozen=True, kw_only=True)
class Day:
    """What came of it.

    Attributes:
      waiting: requests that had no first token yet at the end.
      replica_hours: paid for: those that start, serve or finish what they have.
      most_replicas: serving at the same time.
      changes: of the wanted number of groups.
    """

    intervals: tuple[Interval, ...]
    waiting: int
    replica_hours: float
    most_replicas: int
    changes: int

    @property
    def first_token_s(self) -> list[float]:
        """Time to the first token of every request that got one, ascending."""
        return sorted(answer.first_token_s for interval in self.intervals for answer in interval.answers)

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(len(interval.answers) for interval in self.intervals) + self.waiting

    def part_within(self, goal_s: float) -> float:
        """Part of all requests, 0 to 1, that had their first token in time."""
        return bisect_right(self.first_token_s, goal_s) / max(1, self.requests)

    def slowest_hour(self, *, is_urgent: bool = False) -> tuple[float, float]:
        """Returns the longest first token, p95 of an hour, and the slowest answers, p5 of an hour, in tokens a second.

        Every hour counts by itself, however few ask in it. What still waits at the end counts as never served, and
        answers of less than 16 tokens have no speed: they appear at a glance.

        Args:
          is_urgent: of which requests.
        """
        longest_s, slowest = 0.0, inf
        for start in range(0, len(self.intervals), _HOUR):
            hour = self.intervals[start : start + _HOUR]
            answers = [each for one in hour for each in one.answers if each.request.is_urgent is is_urgent]
            first_s = sorted(answer.first_token_s for answer in answers)
            if hour[-1] is self.intervals[-1]:
                first_s += [inf] * self.waiting
            rates = sorted(
                answer.tokens_per_s
                for answer in answers
                if answer.tokens_per_s is not None and answer.request.generated >= _READ_TOKENS
            )
            longest_s = max(longest_s, quantile(first_s, 0.95) or 0.0)
            slowest = min(slowest, quantile(rates, 0.05) or inf)
        return longest_s, slowest


_ongoing = attrgetter("ongoing")


class _Cluster:
    """Groups and the requests in front of them; time moves forward only."""

    def __init__(
        self, model: GroupModel, groups: int, start_s: float, requests: Sequence[Request], answers: list[Answer]
    ) -> None:
        self.groups = [SimulatedGroup(model.pace, model.rows, start_s) for _ in range(groups)]
        self.serving: list[SimulatedGroup] = []
        self.waiting: deque[Request] = deque()
        self._model = model
        self._requests = requests
        self._answers = answers
        self._arrived = 0

    @property
    def queued(self) -> int:
        return len(self.waiting) + sum(group.queued for group in self.groups)

    def advance(self, until: float) -> None:
        """Every arrival and every event of a group before `until`, in order."""
        arrival = self._next_arrival()
        while True:
            group, event = None, inf
            for each in self.groups:  # few, and this is what most of the time goes to
                if each.next_event < event:
                    group, event = each, each.next_event
            if arrival >= until and event >= until:
                break
            if group is not None and event <= arrival:
                self._let(group)
                if self.waiting:
                    self._assign(event)
            else:
                self.waiting.append(self._requests[self._arrived])
                self._assign(arrival)
                self._arrived += 1
                arrival = self._next_arrival()
        self.serving = [group for group in self.groups if group.ready_at <= until and not group.is_stopping]
        self._assign(until)

    def resize(self, target: int, now: float) -> None:
        """Start groups, or stop those that have least to do; what is assigned to a stopped one it finishes."""
        staying = [group for group in self.groups if not group.is_stopping]
        ready_at = now + self._model.start_s
        self.groups += [
            SimulatedGroup(self._model.pace, self._model.rows, ready_at) for _ in range(target - len(staying))
        ]
        staying.sort(key=lambda group: (group.ready_at > now, -group.ongoing))
        for group in staying[target:]:
            group.is_stopping = True
            if not group.ongoing:
                self.groups.remove(group)
        self.serving = [group for group in self.serving if not group.is_stopping]

    def _next_arrival(self) -> float:
        return self._requests[self._arrived].arrival_s if self._arrived < len(self._requests) else inf

    def _assign(self, now: float) -> None:
        while self.waiting and self.serving:
            group = min(self.serving, key=_ongoing)
            if group.ongoing >= self._model.max_ongoing:
                return
            group.take(self.waiting.popleft(), now)

    def _let(self, group: SimulatedGroup) -> None:
        answer = group.advance()
        if answer is not None:
            self._answers.append(answer)
            if group.is_stopping and not group.ongoing:
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
                    queued=group.queued,
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
    start_s: float = 0.0,
    end_s: float = DAY_S,
    on_progress: Callable[[float], None] = lambda part: None,
) -> Day:
    """Run one day, or a part of it, from `min_replicas` groups that serve. The same arguments give the same day.

    Args:
      requests: in order of arrival, all between `start_s` and `end_s`.
      autoscaling: the settings under trial.
      model: what each group can do.
      start_s: seconds since midnight, a multiple of INTERVAL_S.
      end_s: likewise.
      on_progress: called every simulated five minutes with the part of the day that is over.
    """
    answers: list[Answer] = []
    cluster = _Cluster(model, autoscaling.min_replicas, start_s, requests, answers)
    autoscaler = _Autoscaler(autoscaling, model)
    ticks = round(INTERVAL_S / TICK_S)
    count = round((end_s - start_s) / INTERVAL_S)
    serving, queued = [], []
    group_seconds, changes, most = 0.0, 0, 0
    for interval in range(count):
        counts, depths = [], []
        for tick in range(ticks):
            now = start_s + (interval * ticks + tick) * TICK_S
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
        on_progress((interval + 1) / count)
    cluster.advance(end_s)
    begun = [answer for group in cluster.groups for answer in group.begun()]
    arrived: list[list[Answer]] = [[] for _ in range(count)]
    for answer in (*answers, *begun):
        first_s = answer.first_token_s + model.first_token_s
        arrived[int((answer.request.arrival_s - start_s) // INTERVAL_S)].append(answer._replace(first_token_s=first_s))
    return Day(
        intervals=tuple(
            Interval(
                start_s=start_s + i * INTERVAL_S,
                replicas=serving[i],
                queued=queued[i],
                answers=tuple(arrived[i]),
            )
            for i in range(count)
        ),
        waiting=len(requests) - len(answers) - len(begun),
        replica_hours=group_seconds / 3600,
        most_replicas=most,
        changes=changes,
    )
