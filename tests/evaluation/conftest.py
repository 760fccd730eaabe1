"""Tiny benchmarks, and the sandbox that generated programs run in."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.evaluation.sandbox import Sandbox

_OWN = Path(__file__).parents[2] / ".bubblewrap/usr/bin"
"""Where `make bubblewrap` puts it if the system has none."""


@pytest.fixture(autouse=True)
def _bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("the sandbox takes Linux")
    monkeypatch.setenv("PATH", str(_OWN), prepend=":")


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def hole(name: str, problem: int, prompt: str, suffix: str, line: str, test: str) -> dict[str, Any]:
    """A line of HumanEval-Infilling's files."""
    return {
        "task_id": f"SingleLineInfilling/HumanEval/{problem}/{name}",
        "entry_point": "f",
        "prompt": prompt,
        "suffix": suffix,
        "canonical_solution": line,
        "test": f"def check(candidate):\n    {test}\n",
    }


HOLES = [
    hole("L0", 0, "def f(a, b):\n", "    return c\n", "    c = a + b\n", "assert candidate(1, 2) == 3"),
    hole("L1", 0, "def f(a, b):\n    c = a + b\n", "", "    return c\n", "assert candidate(1, 2) == 3"),
    hole("L0", 1, "def f(a, b):\n", "", "    return a * b\n", "assert candidate(2, 5) == 10"),
    hole("L0", 2, "def f(a, b):\n", "    return c\n", "    c = a - b\n", "assert candidate(2, 5) == -3"),
]
"""Four tasks of three problems."""


def write_holes(directory: Path, holes: list[dict[str, Any]]) -> Path:
    """A folder of data with these tasks as the single-line set."""
    directory.mkdir(exist_ok=True)
    with gzip.open(directory / "HumanEval-SingleLineInfilling.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(each) + "\n" for each in holes)
    return directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_holes(tmp_path / "data", HOLES)
