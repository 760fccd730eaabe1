"""What `make forms` has written, for the tests that read it: `write.py` says how it lies there."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

DIRECTORY = os.environ.get("FORMS")
"""Where; None: nowhere, and there is nothing to test."""
REFERENCE = "huggingface"
MAX_RELATIVE_ERROR, MAX_RELATIVE_ERROR_QUANTISED = 1e-4, 3e-3
"""Of logits. Quantised weights are multiplied with activations of 16 bits."""


@dataclass(frozen=True)
class WrittenForm:
    """A checkpoint that another library has written.

    Attributes:
      path: MODEL/WEIGHTS/FORM in `DIRECTORY`.
    """

    path: Path

    @property
    def model(self) -> str:
        return self.path.parents[1].name

    @property
    def weights(self) -> str:
        return self.path.parent.name

    @property
    def reference(self) -> "WrittenForm":
        """The same numbers in the Hugging Face form."""
        return WrittenForm(self.path.with_name(REFERENCE))

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Prompts, with the greedy tokens and log probabilities of transformers."""
        found: list[dict[str, Any]] = json.loads((self.path.parent / "expected.json").read_text())
        return found

    @property
    def logits(self) -> np.ndarray:
        """After each prompt, by transformers: [prompts, V]."""
        with np.load(self.path.parent / "expected.npz") as arrays:
            logits: np.ndarray = arrays["logits"]
            return logits

    @property
    def is_quantised(self) -> bool:
        """Whether its matrices are, and not only the numbers those of one that is."""
        return self.weights != "exact" and self.path.name != REFERENCE

    @property
    def max_relative_error(self) -> float:
        """How far our logits may be from these, relative to the largest."""
        return MAX_RELATIVE_ERROR_QUANTISED if self.is_quantised else MAX_RELATIVE_ERROR

    def __str__(self) -> str:
        return f"{self.model}.{self.weights}.{self.path.name}"


@cache
def written_forms() -> tuple[WrittenForm, ...]:
    """All of them."""
    paths = sorted(Path(DIRECTORY).glob("*/*/*")) if DIRECTORY else []
    return tuple(WrittenForm(path) for path in paths if not path.name.startswith("expected."))
