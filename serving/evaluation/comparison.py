"""Comparison: two runs over the same tasks, task by task, and what an operator can conclude."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, comb, floor
from typing import Any

from serving.evaluation.interval import difference_interval
from serving.evaluation.run_directory import Result

BETTER, WORSE, NO_WORSE, OPEN = "better", "worse", "no worse", "not decided"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs of one set.

    Attributes:
      tasks: that both have done.
      first, second: how many of these each solved.
      only_first, only_second: how many only one of them solved.
      low, high: the second's share minus the first's lies here with 95% confidence.
      p: of McNemar's exact test, that a difference as large comes by chance. It takes tasks as independent.
      margin: so much less may the second solve, as a share of all tasks, and still be no worse.
      verdict: `better`, `worse`, `no worse` by more than the margin, or `not decided`.
      needed: tasks by which a difference as large as the margin would show, as far as that can be told from these.
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
    margin: float
    verdict: str
    needed: int

    @property
    def difference(self) -> float:
        """The second's share minus the first's."""
        return (self.second - self.first) / self.tasks

    def sentence(self) -> str:
        """The verdict in words, with percentage points."""
        less, margin = f"{-100 * self.low:.1f} points less", f"the margin of {100 * self.margin:g}"
        found = {
            BETTER: f"B solves {100 * self.low:.1f} to {100 * self.high:.1f} points more",
            WORSE: f"B solves {-100 * self.high:.1f} to {less}",
            NO_WORSE: f"B solves at most {less}, within {margin}" if self.low < 0 else f"within {margin}",
            OPEN: f"B may solve up to {less}, beyond {margin}; about {self.needed:,} tasks would tell",
        }
        return f"{self.verdict}: {found[self.verdict]}"


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
    elif low > -margin:
        verdict = NO_WORSE
    else:
        verdict = WORSE if high < 0 else OPEN
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
        margin=margin,
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
    worse = ", ".join(each.name for each in pairs if each.verdict == WORSE)
    undecided = [each for each in pairs if each.verdict == OPEN]
    if worse:
        return f"Keep A: B solves less in {worse}."
    if undecided:
        names = ", ".join(each.name for each in undecided)
        enough = (floor(1000 * -min(each.low for each in undecided)) + 1) / 10
        return (
            f"Keep A for now: not decided in {names}. Evaluate more sets, or take B if up to {enough:g} points less "
            f"would do (--margin {enough:g})."
        )
    if all(each.verdict == BETTER for each in pairs):
        return "Take B: it solves more in every set."
    return "B can take A's place: it is no worse in any set, within the margin."


def left_out(first: Sequence[Result], second: Sequence[Result]) -> list[str]:
    """What only one of two runs has done, so that it is not compared."""
    done = [Counter(each.task_set for each in one) for one in (first, second)]
    both = {(each.task_set, each.task) for each in first} & {(each.task_set, each.task) for each in second}
    compared = Counter(name for name, _ in both)
    return [
        f"{name}: {count - compared[name]} of the {count} tasks of {run} are left out, as {other} has not done them"
        for run, other, counts in (("A", "B", done[0]), ("B", "A", done[1]))
        for name, count in counts.items()
        if count > compared[name]
    ]


def differing_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What two runs did differently besides the model and their choice of sets, as `name: A's value, B's value`."""
    names = sorted((first.keys() | second.keys()) - {"model", "model_version", "fill_in_the_middle"})
    found = []
    for name in names:
        a, b = first.get(name), second.get(name)
        if isinstance(a, dict) and isinstance(b, dict):  # by set
            found += [f"{name} of {each}: {a[each]}, {b[each]}" for each in a if each in b and a[each] != b[each]]
        elif a != b:
            found.append(f"{name}: {a}, {b}")
    return found


def as_json(pairs: Sequence[Pair], differing: Sequence[str], missing: Sequence[str]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "sets": [asdict(each) | {"difference": each.difference} for each in pairs],
        "conclusion": conclusion(pairs),
        "differing": list(differing),
        "left_out": list(missing),
    }
