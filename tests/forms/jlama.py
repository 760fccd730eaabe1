"""Jlama's checkpoints, by the rules of its writer: no library of Python writes them."""

from pathlib import Path
from typing import Any

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors
from tests.sharding.checkpoint.jlama_files import jlama_tensors
from tests.sharding.checkpoint.jlama_files import write_jlama as write_stored


def write_jlama(path: Path, config: dict[str, Any], tensors: Tensors, kind: str) -> None:
    """All matrices as `Q4` or `I8`."""
    stored, _ = jlama_tensors(tensors, kind)
    write_stored(path, config, stored)
    (path / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))


def jlama_numbers(tensors: Tensors, kind: str) -> Tensors:
    """What that leaves of them."""
    _, stood_for = jlama_tensors(tensors, kind)
    return stood_for
