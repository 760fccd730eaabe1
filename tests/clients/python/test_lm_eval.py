"""lm-eval through local-completions, with the service's tokenizer: a task that generates, and one that compares.

The questions are those that the small model answers; the second task is right where the service scores a prompt as the
model does.
"""

import json
import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the tasks are here
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
from lm_eval import simple_evaluate

from tests.clients.python.conftest import Asked

_ANSWERS = {
    "1, 2, 3, 4,": ["5", "9", "1"],
    "Monday, Tuesday, Wednesday,": ["Thursday", "Monday", "Paris"],
    "def area(width, height):\n    return width *": ["height", "depth", "print"],
}
"""The right one first."""


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of them, as lm-eval reads one."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    file = tmp_path / "questions.jsonl"
    rows = [{"begin": begin, "ends": ends} for begin, ends in _ANSWERS.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def accuracy(url: str, asked: Asked, questions: Path, metric: dict[str, object], **task: object) -> float:
    """The share of questions that the service answers rightly, by lm-eval."""
    config = {
        "task": "beginnings",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "doc_to_text": "{{begin}}",
        "metric_list": [metric],
        **task,
    }
    where = {
        "model": asked.model,
        "base_url": f"{url}/v1/completions",
        "max_length": 8192,
        "tokenized_requests": False,  # texts: the service begins them with BOS, and token ids as they are
    }
    results: dict[str, Any] = simple_evaluate("local-completions", where, tasks=[config], bootstrap_iters=0)
    return float(results["results"]["beginnings"][f"{metric['metric']},none"])


def test_it_generates(url: str, asked: Asked, questions: Path) -> None:
    until = {"until": [",", "\n"], "max_gen_toks": 5}
    task = {"output_type": "generate_until", "generation_kwargs": until, "doc_to_target": "{{ends[0]}}"}
    assert accuracy(url, asked, questions, {"metric": "exact_match", "regexes_to_ignore": ["^ "]}, **task) == 1


def test_it_compares_likelihoods(url: str, asked: Asked, questions: Path) -> None:
    task = {"output_type": "multiple_choice", "doc_to_choice": "ends", "doc_to_target": 0}
    assert accuracy(url, asked, questions, {"metric": "acc"}, **task) == 1
