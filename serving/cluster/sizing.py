"""Sizing: the groups, machines and money that keep so many developers within the goals.

Every step of the arithmetic is shown. An estimate: a decode step takes as long as its bytes take through the memory,
and a prompt as long as its operations take, both at a part of what the data sheet says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from serving.autoscaling.pace import Pace
from serving.autoscaling.policy import SHRINK_TO_FILL
from serving.autoscaling.traffic import DAY_S, active_part
from serving.cluster.arithmetic import Step, milliseconds
from serving.cluster.chips import Chip
from serving.cluster.group_size import GroupSize
from serving.cluster.habits import Goals, Habits
from serving.cluster.waiting import Flow, Waiting
from serving.config import LimitsConfig, ModelConfig, Role
from serving.models.topology import Accelerator, Topology
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig

_CHIPS_OF_ONE_HOST = {"tpu": (1, 4, 8), "gpu": (1, 2, 4, 8)}
_USUAL = (
    ("codegemma-2b", CODEGEMMA_2B, Role.FIM, 32),
    ("codegemma-7b-it", CODEGEMMA_7B, Role.CHAT, 16),
)
_HOURS_A_MONTH = 365 * 24 / 12
_WORKDAYS = 5 / 7


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The developers, and the goals for them.

    Attributes:
      users: developers, all of them at work at the busiest time of the day.
      efficiency: part of the chip's bandwidth and operations that is really reached.
      price: US dollars for a chip and hour; None: that of the chip.
    """

    users: int
    habits: Habits
    goals: Goals
    efficiency: float
    price: float | None


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What one model needs.

    Attributes:
      chips: of one group.
      rows: of one group.
      pace: of its steps.
      groups: at the busiest time of the day.
      configured: groups that its configuration allows.
      machine: its type; a group has machines of its own.
      machines: of all groups.
      first_token_s: p95 with that many groups, by role.
      answer_tokens_per_s: of an answer, p5, by role.
      dollars: a month with that many groups all the time.
      dollars_autoscaled: a month with as many groups as each half hour of working days needs, at least those that are
        configured.
      steps: how each number came about.
    """

    model: str
    requests_per_s: float
    tokens_per_s: float
    chips: int
    rows: int
    pace: Pace
    groups: int
    configured: int
    machine: str
    machines: int
    first_token_s: dict[Role, float]
    answer_tokens_per_s: dict[Role, float]
    dollars: float
    dollars_autoscaled: float
    steps: tuple[Step, ...]


def size_model(
    model: ModelConfig, shape: GemmaConfig, chip: Chip, shares: Mapping[Role, float], plan: Plan
) -> ModelSize:
    """What one model needs.

    Args:
      model: its topology gives the chips of a group, its limits the rows.
      shape: of its checkpoint.
      chip: that its groups have.
      shares: the part of each role's requests that it answers.
      plan: for whom, and on what.

    Raises:
      ValueError: the model does not fit the chips, they are of another kind than its topology says, requests are longer
        than its context, or it is too slow for its goals with however many groups.
    """
    roles = [role for role in Role if role in shares]  # completions before chat
    group = GroupSize(model, shape, chip, roles, plan.habits, plan.efficiency)
    demand = _Demand(roles, shares, plan, group)
    groups, waiting = demand.groups(model.id)
    topology, price = model.topology, chip.price if plan.price is None else plan.price
    machine, chips_of_it = chip.machine(topology.chips_per_host)
    machines, paid = groups * topology.hosts, topology.hosts * chips_of_it
    month = groups * paid * price * _HOURS_A_MONTH
    least = 1 if model.autoscaling is None else max(1, model.autoscaling.min_replicas)
    daily = demand.group_hours(model.id, least) * _WORKDAYS + 24 * least * (1 - _WORKDAYS)
    autoscaled = daily * paid * price * _HOURS_A_MONTH / 24
    what = f"{groups} groups x {topology.hosts} of {chips_of_it} {chip.name}"
    hours = f"{daily:.1f} group-hours a day x {paid} x {_HOURS_A_MONTH / 24:.1f} days x ${price:g}"
    totals = (
        Step("machines", what, f"{machines} {machine}"),
        Step("a month", f"{groups * paid} x {_HOURS_A_MONTH:.0f} h x ${price:g}", f"${month:,.0f}"),
        Step("autoscaled", hours, f"${autoscaled:,.0f}"),
    )
    return ModelSize(
        model=model.id,
        requests_per_s=sum(flow.per_s for flow in demand.flows(1)),
        tokens_per_s=sum(flow.per_s * sum(plan.habits.tokens[flow.role]) for flow in demand.flows(1)),
        chips=topology.tensor_parallel,
        rows=group.rows,
        pace=group.pace,
        groups=groups,
        configured=model.replicas if model.autoscaling is None else model.autoscaling.max_replicas,
        machine=machine,
        machines=machines,
        first_token_s=waiting.first_token_s,
        answer_tokens_per_s=waiting.tokens_per_s,
        dollars=month,
        dollars_autoscaled=autoscaled,
        steps=(*group.steps(), *demand.steps(groups, waiting), *totals),
    )


def size_usual_models(chip: Chip, plan: Plan) -> list[ModelSize]:
    """CodeGemma 2B for completion and 7B-IT for chat, each in groups of as many chips of a host as is cheapest.

    Raises:
      ValueError: however many, one of them is too slow for its goals.
    """
    return [_cheapest(name, shape, role, rows, chip, plan) for name, shape, role, rows in _USUAL]


def _cheapest(name: str, shape: GemmaConfig, role: Role, rows: int, chip: Chip, plan: Plan) -> ModelSize:
    accelerator: Accelerator = "tpu-v5litepod" if chip.platform == "tpu" else "gpu"
    sizes, refusals = [], []
    for chips in _CHIPS_OF_ONE_HOST[chip.platform]:
        model = ModelConfig(
            id=name,
            checkpoint=name,
            roles=(role,),
            topology=Topology(accelerator=accelerator, chips_per_host=chips),
            limits=LimitsConfig(max_rows=rows, max_step_tokens=1024),
        )
        try:
            sizes.append(size_model(model, shape, chip, {role: 1.0}, plan))
        except ValueError as error:  # so few chips are too small or too slow
            refusals.append(error)
    if not sizes:
        raise refusals[-1]
    return min(sizes, key=lambda size: size.dollars)


class _Demand:
    """The load of developers on a model, and the groups for it."""

    def __init__(self, roles: Sequence[Role], shares: Mapping[Role, float], plan: Plan, group: GroupSize) -> None:
        self._roles, self._shares, self._plan, self._group = roles, shares, plan, group

    def flows(self, groups: float, part: float = 1.0) -> list[Flow]:
        """The requests that one of so many groups gets while that part of the developers is at work."""
        habits = self._plan.habits
        return [
            Flow(
                role=role,
                per_s=self._plan.users * part * self._shares[role] * habits.requests_per_hour(role) / 3600 / groups,
                prompt=habits.new_tokens(role),
                generated=habits.tokens[role][1],
            )
            for role in self._roles
        ]

    def groups(self, model: str, part: float = 1.0) -> tuple[int, Waiting]:
        """The fewest groups that meet the goals and are not fuller than the autoscaler keeps them.

        Raises:
          ValueError: none do.
        """
        pace, rows, plan = self._group.pace, self._group.rows, self._plan
        alone = Waiting.of(self.flows(inf), pace, rows)
        for role in self._roles:
            if alone.first_token_s[role] > plan.goals.first_token_s[role]:
                raise ValueError(
                    f"models.{model}: the first token of {role} takes {milliseconds(alone.first_token_s[role])} in a "
                    f"group without other requests (p95), and {milliseconds(plan.goals.first_token_s[role])} is the "
                    "goal. Use more or faster chips for a group, or quantize; or set another --"
                    f"{role}-goal."
                )
            if alone.tokens_per_s[role] < plan.goals.tokens_per_s[role]:
                raise ValueError(
                    f"models.{model}: answers of {role} get {alone.tokens_per_s[role]:.3g} tokens/s in a group without "
                    f"other requests, and {plan.goals.tokens_per_s[role]:g} is the goal. Use more or faster chips for "
                    f"a group, or quantize; or set another --{role}-goal."
                )
        few, enough = 0, 1
        while not self._meets(enough, part):
            few, enough = enough, 2 * enough
        while enough - few > 1:
            middle = (few + enough) // 2
            few, enough = (few, middle) if self._meets(middle, part) else (middle, enough)
        return enough, Waiting.of(self.flows(enough, part), pace, rows)

    def group_hours(self, model: str, least: int) -> float:
        """Group-hours of a working day with just as many groups as each half hour needs, and at least so many."""
        half_hours = [active_part(DAY_S * (i + 0.5) / 48) for i in range(48)]
        return sum(max(least, self.groups(model, part)[0]) for part in half_hours) / 2

    def _meets(self, groups: int, part: float) -> bool:
        flows, goals = self.flows(groups, part), self._plan.goals
        waiting = Waiting.of(flows, self._group.pace, self._group.rows)
        return self._busy(flows) <= SHRINK_TO_FILL and all(
            waiting.first_token_s[role] <= goals.first_token_s[role]
            and waiting.tokens_per_s[role] >= goals.tokens_per_s[role]
            for role in self._roles
        )

    def _busy(self, flows: Sequence[Flow]) -> float:
        """The part of a group, 0 to 1, that they keep busy, with rows full."""
        pace, rows = self._group.pace, self._group.rows
        token_s = pace.decode_s(rows) / rows
        return sum(flow.per_s * (flow.prompt * pace.prompt_token_s + flow.generated * token_s) for flow in flows)

    def steps(self, groups: int, waiting: Waiting) -> list[Step]:
        """The arithmetic."""
        plan, pace, rows = self._plan, self._group.pace, self._group.rows
        habits, steps = plan.habits, []
        for flow in self.flows(1):
            role, (prompt, generated) = flow.role, habits.tokens[flow.role]
            each = (
                f"{habits.keystrokes_per_minute:g} keys a minute / {habits.keystrokes_per_request:g} / 60"
                if role is Role.FIM
                else f"{habits.chats_per_hour:g} an hour / 3600"
            )
            share = "" if self._shares[role] == 1 else f" x {self._shares[role]:.2g}"
            tokens_s = f"{flow.per_s * (prompt + generated):,.0f}"
            took = f"{pace.prompt_steps(flow.prompt, waiting.rows)} steps + {flow.prompt:.0f} new tokens"
            took_s = milliseconds(pace.prompt_s(flow.prompt, waiting.rows))
            steps += [
                Step(f"{role}: requests/s", f"{plan.users} users x {each}{share}", f"{flow.per_s:.3g}"),
                Step(f"{role}: tokens/s", f"{flow.per_s:.3g} x ({prompt} + {generated})", tokens_s),
                Step(f"{role}: a prompt", f"{took}, beside {waiting.rows:.2g} rows", took_s),
            ]
        busy = self._busy(self.flows(1))
        goals = "or more for the goals" if groups > math.ceil(busy / SHRINK_TO_FILL) else "rounded up"
        steps.append(Step("groups", f"{busy:.3g} busy / {SHRINK_TO_FILL:g} full, {goals}", str(groups)))
        steps.append(Step("busy rows", f"on average, of {rows}", f"{waiting.rows:.2g}"))
        for role in self._roles:
            first = milliseconds(waiting.first_token_s[role])
            goal = milliseconds(plan.goals.first_token_s[role])
            steps.append(Step(f"{role}: first token", f"p95 by M/M/1; the goal is {goal}", first))
            speed = f"{waiting.tokens_per_s[role]:.3g} tokens/s"
            steps.append(Step(f"{role}: an answer", f"p5; the goal is {plan.goals.tokens_per_s[role]:g}", speed))
        return steps
