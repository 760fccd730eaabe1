"""HumanEval-Infilling: HumanEval's solutions with something missing (Bavarian et al., arXiv 2207.14255)."""

import re

from serving.evaluation.task import Task
from serving.evaluation.task_sets.task_set import PYTHON_END, Line, TaskSet

_SOURCE = "github.com/openai/human-eval-infilling, folder data (MIT)"


def read_infilling(lines: list[Line]) -> tuple[list[Task], list[str]]:
    """A task of each line: code with a hole, and tests of the whole."""
    return [_task(line) for line in lines], []


def _task(line: Line) -> Task:
    problem = re.search(r"HumanEval/\d+", line["task_id"])
    return Task(
        name=line["task_id"],
        problem=problem.group() if problem else line["task_id"],
        request={"prompt": line["prompt"], "suffix": line["suffix"], "path": "solution.py"},
        before=line["prompt"],
        after=f"{line['suffix']}\n{line['test']}\ncheck({line['entry_point']})\n{PYTHON_END}",
        canonical=line["canonical_solution"],
    )


def _set(name: str, title: str, file: str, max_tokens: int, card: str = "") -> TaskSet:
    return TaskSet(
        name=f"infilling-{name}",
        title=f"HumanEval-Infilling, {title}",
        file=f"HumanEval-{file}.jsonl",
        source=_SOURCE,
        read=read_infilling,
        language="python",
        max_tokens=max_tokens,
        card=card,
    )


INFILLING = (
    _set("single-line", "single line", "SingleLineInfilling", 64, "HumanEval Single Line"),
    _set("multi-line", "multi-line", "MultiLineInfilling", 256, "HumanEval Multi Line"),
    _set("random-span", "random span", "RandomSpanInfilling", 256),
    _set("random-span-light", "random span, light", "RandomSpanInfillingLight", 256),
)
