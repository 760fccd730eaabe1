"""Writes sets of GGUF files, as llama.cpp's gguf-split does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from tests.sharding.checkpoint.files import WIDE, Tensors, gguf_tensors, write_gguf

PARTS = 3


def write_set(
    directory: Path, config: Mapping[str, Any], tensors: Tensors, name: str = "gemma", **keys: int
) -> list[Path]:
    """A file for each part, the metadata in the first one, as gguf-split writes them; `keys` are of all parts."""
    directory.mkdir(exist_ok=True)
    stored = gguf_tensors(config, tensors)
    files = []
    for number in range(PARTS):
        part = dict(list(stored.items())[number::PARTS])
        file = directory / f"{name}-{number + 1:05}-of-{PARTS:05}.gguf"
        said = {"no": number, "count": PARTS, "tensors_count": len(stored)} | keys
        files.append(write_part(file, number, part, said, config))
    return files


def write_part(
    file: Path, number: int, tensors: Tensors, keys: Mapping[str, int], config: Mapping[str, Any] = WIDE
) -> Path:
    """Writes one file of a set; the first one has the configuration."""
    split = {
        gguf.Keys.Split.LLM_KV_SPLIT_NO: keys["no"],
        gguf.Keys.Split.LLM_KV_SPLIT_COUNT: keys["count"],
        gguf.Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT: keys["tensors_count"],
    }
    if number == 0:
        return write_gguf(file, config, tensors, split=split)
    writer = gguf.GGUFWriter(file, "gemma")
    for key, value in split.items():
        writer.add_int32(key, value) if "tensors" in key else writer.add_uint16(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
