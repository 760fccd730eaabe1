"""Files of published benchmarks become tasks."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.evaluation.task_sets.catalogue import TASK_SETS
from serving.evaluation.task_sets.infilling import read_infilling
from serving.evaluation.task_sets.mbpp import read_mbpp
from serving.evaluation.task_sets.task_set import DataError
from tests.evaluation.conftest import HOLES

HEAD = {
    "task_id": "HumanEval/0",
    "entry_point": "f",
    "prompt": 'def f(a, b):\n    """Adds."""\n',
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}


def sentence(number: int) -> dict[str, Any]:
    """A line of MBPP in BabelCode's raw form."""
    return {
        "id": str(number),
        "title": f"MBPP/{number}",
        "text": f"Write a function to add {number}.",
        "testing_code": f"assert add(1) == {number + 1}",
        "solution": f"def add(n):\r\n    return n + {number}",
        "entry_fn_name": "add",
    }


MBPP = [sentence(number) for number in (1, 2, 3, 4, 10, 11, 510, 511)]


def test_tasks_of_one_function_are_of_one_problem() -> None:
    tasks, _ = read_infilling(HOLES)
    assert [task.problem for task in tasks] == ["HumanEval/0", "HumanEval/0", "HumanEval/1", "HumanEval/2"]


def test_mbpp_has_the_papers_examples_and_questions() -> None:
    tasks, _ = read_mbpp(MBPP)
    assert [task.name for task in tasks] == ["MBPP/11", "MBPP/510"]
    prompt = str(tasks[0].request["prompt"])
    assert [f"add {n}." in prompt for n in (1, 2, 3, 4, 10, 11)] == [False, True, True, True, False, True]
    assert "    return n + 2\n[DONE]" in prompt
    assert prompt.endswith("assert add(1) == 12\n[BEGIN]\n")


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    for each in TASK_SETS.values():
        with pytest.raises(DataError, match="It comes from"):
            each.load(tmp_path)


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    each = TASK_SETS["humaneval"]
    file = tmp_path / "HumanEval.jsonl"
    file.write_text(json.dumps(HEAD) + "\n" + json.dumps(HEAD)[:-5] + "\n")
    with pytest.raises(DataError, match=r"HumanEval\.jsonl: line 2"):
        each.load(tmp_path)
    file.write_text(json.dumps({"a": 1}) + "\n")
    with pytest.raises(DataError, match="is not HumanEval: 'task_id' is missing"):
        each.load(tmp_path)
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(b"\x1f\x8b")
    file.unlink()
    with pytest.raises(DataError, match=r"HumanEval\.jsonl\.gz"):
        each.load(tmp_path)


def test_every_coding_row_of_the_model_card_has_a_set() -> None:
    from serving.evaluation.model_card import _ROWS

    assert {each.card for each in TASK_SETS.values()} - {""} == set(_ROWS)
