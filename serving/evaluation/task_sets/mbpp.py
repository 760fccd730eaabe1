"""MBPP: small Python functions from a sentence and three tests (Austin et al., arXiv 2108.07732)."""

from serving.evaluation.task import Task
from serving.evaluation.task_sets.task_set import PYTHON_END, Line, TaskSet

_EXAMPLES = range(2, 5)
TESTED = range(11, 511)
"""The paper's split, by id: three examples in the prompt, 500 questions."""


def read_mbpp(lines: list[Line]) -> tuple[list[Task], list[str]]:
    """A task of each question of the paper's test split, behind the paper's three examples."""
    examples = "".join(f"{_question(line)}{_code(line)}\n[DONE]\n\n" for line in lines if int(line["id"]) in _EXAMPLES)
    return [_task(line, examples) for line in lines if int(line["id"]) in TESTED], []


def _task(line: Line, examples: str) -> Task:
    return Task(
        name=line["title"],
        problem=line["title"],
        request={"prompt": examples + _question(line), "stop": ["[DONE]", "[BEGIN]", "\nYou are an expert"]},
        before="",
        after=f"\n{line['testing_code']}\n{PYTHON_END}",
        canonical=_code(line),
    )


def _question(line: Line) -> str:
    """The paper's prompt, as the README beside its data has it."""
    return (
        f"You are an expert Python programmer, and here is your task: {line['text']} Your code should pass these tests:"
        f"\n\n{line['testing_code']}\n[BEGIN]\n"
    )


def _code(line: Line) -> str:
    return str(line["solution"]).replace("\r\n", "\n")


MBPP = TaskSet(
    name="mbpp",
    title="MBPP",
    file="babelcode_mbpp_questions.jsonl",
    source="github.com/google-research/babelcode, file data/raw_datasets/mbpp_questions.jsonl (Apache-2.0)",
    read=read_mbpp,
    language="python",
    max_tokens=512,
    card="MBPP",
)
