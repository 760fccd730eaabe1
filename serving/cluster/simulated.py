"""A simulated morning of developers with a model's own autoscaling, which the arithmetic leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.pace import Pace
from serving.autoscaling.simulation import GroupModel, simulate
from serving.autoscaling.traffic import OfficeDay
from serving.cluster.habits import Goals
from serving.cluster.sizing import ModelSize, Plan
from serving.config import ModelConfig, Role

HOURS = (8, 11)
"""Of the office day: the morning's rise, and its busiest hour."""
START_S = 300.0
"""Seconds until a new group answers, assumed for machine, image, weights and compiled steps."""
_WAY_S = 0.01
"""Overhead of the first token: bench/README.md measures 4 ms for one client."""
_TYPING_BURST = 6.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """What at least 95 of 100 requests get in every hour.

    Attributes:
      first_token_s: to the first token; infinite if some are never served.
      tokens_per_s: from then on; infinite if there are no answers of some length.
    """

    first_token_s: float
    tokens_per_s: float

    def meets(self, goals: Goals, role: Role) -> bool:
        """Whether this meets the goals."""
        return self.first_token_s <= goals.first_token_s[role] and self.tokens_per_s >= goals.tokens_per_s[role]

    def __str__(self) -> str:
        first = f"{self.first_token_s:.3g} s" if isfinite(self.first_token_s) else "no first token"
        return f"{first}, {self.tokens_per_s:.0f} tokens/s" if isfinite(self.tokens_per_s) else first


@dataclass(frozen=True)
class _Load:
    """Requests of one role, all day: see `OfficeDay`."""

    role: Role
    per_hour: float
    prompt: float
    generated: float


def simulate_model(
    model: ModelConfig, size: ModelSize, shares: Mapping[Role, float], plan: Plan, lost: int = 0
) -> dict[Role, Service]:
    """What developers get from a model, by role.

    Args:
      model: has the autoscaling, or the number of groups.
      size: of its groups.
      shares: as for `size_model`.
      plan: for whom.
      lost: groups of the most that it may have which are gone all the time, while the others are there.
    """
    scaling = model.autoscaling or AutoscalingConfig(min_replicas=model.replicas, max_replicas=model.replicas)
    if lost:
        left = scaling.max_replicas - lost
        scaling = AutoscalingConfig(min_replicas=left, max_replicas=left)
    habits = plan.habits
    loads = tuple(
        _Load(role, shares[role] * habits.requests_per_hour(role), habits.new_tokens(role), habits.tokens[role][1])
        for role in model.roles
    )
    return _simulated(plan.users, loads, scaling, size.rows, size.pace)


@cache  # profiles have models in common
def _simulated(
    users: int, loads: tuple[_Load, ...], scaling: AutoscalingConfig, rows: int, pace: Pace
) -> dict[Role, Service]:
    start_s, end_s = (hour * 3600.0 for hour in HOURS)
    days = (
        OfficeDay(
            users=users,
            requests_per_hour=load.per_hour,
            generated=load.generated,
            prompt=load.prompt,
            is_urgent=load.role is Role.FIM,
            burst=_TYPING_BURST if load.role is Role.FIM else 1.0,
            start_s=start_s,
            end_s=end_s,
            seed=0,
        )
        for load in loads
        if load.per_hour
    )
    requests = sorted(request for day in days for request in day.requests())
    group = GroupModel(rows=rows, max_ongoing=rows + 1, start_s=START_S, pace=pace, first_token_s=_WAY_S)
    day = simulate(requests, scaling, group, start_s=start_s, end_s=end_s)
    results = {}
    for load in loads:
        first_s, rate = day.slowest_hour(is_urgent=load.role is Role.FIM)
        results[load.role] = Service(first_token_s=first_s, tokens_per_s=rate)
    return results
