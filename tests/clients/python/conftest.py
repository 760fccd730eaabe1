"""The service that `python -m tests.clients` has started, and what its clients ask it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Asked:
    """What is asked, and how the answers begin: `tests/clients/asked.json`."""

    model: str
    prefix: str
    suffix: str
    filled_in: str
    question: str
    answer: str

    @property
    def messages(self) -> Any:
        """The question as a conversation."""
        return [{"role": "user", "content": self.question}]


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["CODEGEMMA_URL"]


@pytest.fixture(scope="session")
def asked() -> Asked:
    return Asked(**json.loads((_TESTS / "asked.json").read_text()))


@pytest.fixture(scope="session")
def too_long() -> str:
    """A text of more tokens than the model's context has."""
    return "word " * 9000
