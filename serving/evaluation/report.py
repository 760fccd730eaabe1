"""Report: what a run found out, for programs and for people, beside the model card's figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from serving.evaluation.interval import score_interval
from serving.evaluation.model_card import card_figures
from serving.evaluation.performance import Performance
from serving.evaluation.run_directory import Result
from serving.evaluation.task_sets.task_set import TaskSet

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Score:
    """What became of a set.

    Attributes:
      tasks: how many it has in this run.
      done: of them so far.
      low, high: where the share lies with 95% confidence.
      ends: how many programs ended in which way.
      cut: answers that ended at the limit of tokens.
      refused: tasks that the service did not answer, and what it said. They count as not solved.
      known_bad: tasks that judge wrongly, by the self-check. They count, as they do in published figures.
      share_without_known_bad: of the other tasks.
      left_out: questions of the file that are no tasks here, with the reason.
      card: the model card's figures, in percent, by model.
    """

    name: str
    title: str
    tasks: int
    done: int
    solved: int
    share: float
    low: float
    high: float
    ends: dict[str, int]
    cut: int
    refused: dict[str, str]
    known_bad: list[str]
    share_without_known_bad: float
    left_out: list[str]
    card: dict[str, float]


def score(
    task_set: TaskSet, tasks: int, results: Sequence[Result], known_bad: Sequence[str], left_out: Sequence[str]
) -> Score:
    """Adds up the results of a set."""
    low, high = score_interval([(each.problem, float(each.passed)) for each in results])
    others = [each.passed for each in results if each.task not in known_bad]
    solved = sum(each.passed for each in results)
    return Score(
        name=task_set.name,
        title=task_set.title,
        tasks=tasks,
        done=len(results),
        solved=solved,
        share=solved / max(len(results), 1),
        low=low,
        high=high,
        ends=dict(Counter(each.how for each in results if each.answered).most_common()),
        cut=sum(each.finish_reason == "length" for each in results),
        refused={each.task: each.detail for each in results if not each.answered},
        known_bad=list(known_bad),
        share_without_known_bad=sum(others) / max(len(others), 1),
        left_out=list(left_out),
        card=card_figures(task_set.card),
    )


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run.

    Attributes:
      settings: as in `run.json`.
      missing: sets that were asked for and could not be evaluated, with the remedy.
    """

    settings: Mapping[str, Any]
    scores: Sequence[Score]
    performance: Performance
    missing: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def markdown(self) -> str:
        """All that a person wants to know of it."""
        models = list(dict.fromkeys(model for each in self.scores for model in each.card))
        lines = [f"# {self.settings['model']}", ""]
        lines += _table(
            ["set", "solved", "of", "share", "95% confidence", *(f"model card, {model}" for model in models)],
            [
                [
                    *(each.title, str(each.solved), str(each.done)),
                    *((f"{each.share:.1%}", f"{each.low:.1%} to {each.high:.1%}") if each.done else ("-", "-")),
                    *(f"{each.card[model]:.1f}%" if model in each.card else "-" for model in models),
                ]
                for each in self.scores
            ],
        )  # fmt: skip
        lines += ["", *(line for each in self.scores for line in _notes(each))]
        lines += [f"- {name} was not evaluated: {why}" for name, why in self.missing.items()]
        lines += ["", "## Speed", "", *_table(["of all answers", ""], [list(row) for row in self.performance.rows()])]
        lines += [
            "",
            "## How",
            "",
            *(f"- {name.replace('_', ' ')}: {_words(value)}" for name, value in self.settings.items()),
            "",
        ]
        lines += [
            "Greedy, one answer a task. Intervals heed that tasks of one problem are alike. The model card does not",
            "say how its prompts were written, so a few points of difference from it mean nothing; between two runs of",
            "this command `codegemma eval compare` tells what they mean.",
            "",
        ]
        return "\n".join(lines)


def _notes(each: Score) -> list[str]:
    ends = ", ".join(f"{how} {count}" for how, count in each.ends.items())
    lines = [f"- {each.title}: programs: {ends or 'none yet'}; {each.cut} answers were cut at the limit of tokens."]
    if each.done < each.tasks:
        lines.append(f"- {each.title}: **{each.tasks - each.done} of {each.tasks} tasks are still to be done.**")
    if each.refused:
        lines.append(
            f"- {each.title}: **{len(each.refused)} tasks were not answered**, and count as not solved: "
            f"{_first([f'{name}: {why}' for name, why in each.refused.items()])}."
        )
    if each.known_bad:
        lines.append(
            f"- {each.title}: {len(each.known_bad)} tasks are known to judge wrongly, and count all the same; without "
            f"them {each.share_without_known_bad:.1%} are solved: {_first(each.known_bad)}."
        )
    if each.left_out:
        lines.append(f"- {each.title}: {len(each.left_out)} questions are left out: {_first(each.left_out)}.")
    return lines


def _first(names: Sequence[str]) -> str:
    """A few of them: `report.json` has all."""
    rest = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; and {rest} more in report.json" if rest > 0 else "")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return "yes" if value is True else "no" if value is False else str(value)


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (header, ["---", *["--:"] * (len(header) - 1)], *rows)]
