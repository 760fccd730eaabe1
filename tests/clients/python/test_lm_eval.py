"""lm-eval through local-completions, with the service's tokenizer: a task that generates, and one that compares.

The questions are those that the small model answers; the second task is right where the service scores a prompt as the
model does. A third is one of the harness's own, asked by the command that `codegemma eval lm-eval` prints.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the tasks are here
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
from lm_eval import simple_evaluate

from tests.clients.python.conftest import Asked

_CODEGEMMA = Path(__file__).parents[3] / ".venv/bin/codegemma"
_ANSWERS = {
    "1, 2, 3, 4,": ["5", "9", "1"],
    "Monday, Tuesday, Wednesday,": ["Thursday", "Monday", "Paris"],
    "def area(width, height):\n    return width *": ["height", "depth", "print"],
}
"""The right one first."""
_CHOICES = [
    ("What comes next? 1, 2, 3, 4,", "5", "Paris"),
    ("What comes next? Monday, Tuesday, Wednesday,", "Thursday", "height"),
    ("What is missing? def area(width, height): return width *", "height", "Monday"),
]


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


def test_the_command_that_is_printed_asks_a_task_of_the_harness(url: str, asked: Asked, tmp_path: Path) -> None:
    rows = [{"goal": goal, "sol1": right, "sol2": wrong, "label": 0} for goal, right, wrong in _CHOICES]
    data = tmp_path / "baber/piqa"  # as the Hub has the data of PIQA
    data.mkdir(parents=True)
    for split in ("train", "validation"):
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = subprocess.run(
        [_CODEGEMMA, "eval", "lm-eval", "piqa", "--url", url, "--model", asked.model, "--out", "out"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    command = shlex.split(printed)
    command[0] = str(Path(sys.executable).parent / command[0])
    here = {"HF_DATASETS_CACHE": str(tmp_path / "datasets"), "OPENAI_API_KEY": "none"}
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **here}, check=True)
    (report,) = tmp_path.glob("out/**/results_*.json")
    assert json.loads(report.read_text())["results"]["piqa"]["acc,none"] == 1
