"""Writes GGUF files of one type of blocks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from gguf import GGMLQuantizationType as Type

from tests.sharding.checkpoint.files import Tensors, gguf_tensors, write_gguf


def write_blocks_gguf(
    file: Path, config: Mapping[str, Any], tensors: Tensors, kind: Type, embedding: Type | None = None
) -> Path:
    """A GGUF of which all matrices are of one type, or the embedding of another."""
    stored, types = gguf_tensors(config, tensors), {}
    for name, value in stored.items():
        if value.ndim == 2:
            types[name] = embedding if embedding is not None and name == "token_embd.weight" else kind
            stored[name] = gguf.quants.quantize(value, types[name])
    return write_gguf(file, config, stored, types)
