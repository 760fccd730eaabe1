"""Comparison: two runs over the same tasks, task by task, and what an operator can conclude."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, comb
from typing import Any

from serving.evaluation.interval import difference_interval
from serving.evaluation.run_directory import Result

BETTER, WORSE, NO_WORSE, OPEN = "better", "worse", "no worse", "open"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs of one set.

    Attributes:
      tasks: that both have done.
      first, second: how many of these each solved.
      only_first, only_second: how many only one of them solved.
      low, high: the second's share minus the first's lies here with 95% confidence.
      p: of McNemar's exact test, that a difference as large comes by chance. It takes tasks as independent.
      verdict: `better`, `worse`, `no worse` by more than the margin, or `open`.
      needed: tasks that would decide it, if it is open, as far as that can be told from these.
    """

    name: str
    tasks: int
    first: int
    second: int
    only_first: int
    only_second: int
    low: float
    high: float
    p: float
    verdict: str
    needed: int

    @property
    def difference(self) -> float:
        """The second's share minus the first's."""
        return (self.second - self.first) / self.tasks

    def sentence(self, margin: float) -> str:
        """The verdict in words."""
        return {
            BETTER: f"B solves more, by {self.low:.1%} at least",
            WORSE: f"B solves less, by {-self.high:.1%} at least and {-self.low:.1%} at most",
            NO_WORSE: f"B is at most {max(-self.low, 0):.1%} worse, within the margin of {margin:.1%}",
            OPEN: f"not decided: B may be {-self.low:.1%} worse; about {self.needed:,} tasks would tell",
        }[self.verdict]


def pair(name: str, first: Sequence[Result], second: Sequence[Result], margin: float) -> Pair | None:
    """Compares two runs of a set; None if they have no task in common.

    Args:
      name: of the set.
      first: the results of one.
      second: those of the other.
      margin: so much less may the second solve, as a share of all tasks, and still be no worse.
    """
    by_task = {each.task: each for each in first}
    both = [(by_task[each.task], each) for each in second if each.task in by_task]
    if not both:
        return None
    low, high = difference_interval([(a.problem, float(b.passed) - float(a.passed)) for a, b in both])
    only_first = sum(a.passed and not b.passed for a, b in both)
    only_second = sum(b.passed and not a.passed for a, b in both)
    if low > 0:
        verdict = BETTER
    elif high < 0:
        verdict = WORSE
    else:
        verdict = NO_WORSE if low > -margin else OPEN
    return Pair(
        name=name,
        tasks=len(both),
        first=sum(a.passed for a, _ in both),
        second=sum(b.passed for _, b in both),
        only_first=only_first,
        only_second=only_second,
        low=low,
        high=high,
        p=mcnemar(only_first, only_second),
        verdict=verdict,
        needed=ceil(len(both) * ((high - low) / 2 / margin) ** 2),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test: a binomial test of the tasks that only one of two solved."""
    count = only_first + only_second
    tail = sum(comb(count, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << count))


def conclusion(pairs: Sequence[Pair]) -> str:
    """What to do, in one line."""
    verdicts = {each.verdict for each in pairs}
    worse = ", ".join(each.name for each in pairs if each.verdict == WORSE)
    undecided = ", ".join(each.name for each in pairs if each.verdict == OPEN)
    if WORSE in verdicts:
        return f"Keep A: B solves less in {worse}."
    if OPEN in verdicts:
        return f"Not decided in {undecided}: evaluate more tasks, or accept a larger --margin."
    if verdicts == {BETTER}:
        return "Take B: it solves more in every set."
    return "B can replace A: it is no worse in any set, within the margin."


def differing_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What two runs did differently besides the model, as `name: A's value, B's value`."""
    names = sorted((first.keys() | second.keys()) - {"model", "model_version", "fill_in_the_middle"})
    return [f"{name}: {first.get(name)}, {second.get(name)}" for name in names if first.get(name) != second.get(name)]


def as_json(pairs: Sequence[Pair], differing: Sequence[str]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "sets": [asdict(each) | {"difference": each.difference} for each in pairs],
        "conclusion": conclusion(pairs),
        "differing": list(differing),
    }
