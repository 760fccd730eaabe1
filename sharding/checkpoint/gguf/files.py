"""Gguf: a checkpoint in one GGUF file, or in a set of files that llama.cpp's `gguf-split` made of one.

A member of a set is named `NAME-00002-of-00003.gguf` and has the keys `split.no` (from 0), `split.count` and
`split.tensors.count`; the metadata of the model are in the first one (tools/gguf-split of
https://github.com/ggml-org/llama.cpp).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharding.checkpoint.byte_range import ByteRange
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import size
from sharding.checkpoint.gguf.header import GgufHeader, is_gguf, read_gguf_header

_MEMBER = re.compile(r"(?P<name>.+)-\d{5}-of-\d{5}\.gguf")
_MOST_FILES = 99_999
"""That names have digits for."""


@dataclass(frozen=True, slots=True)
class Gguf:
    """A checkpoint.

    Attributes:
      file: the only one, or the first.
      metadata: see `GgufHeader`; of the first file.
      tensors: by name, of all files.
    """

    file: Path
    metadata: dict[str, Any]
    tensors: dict[str, ByteRange]


def recognises(path: Path) -> bool:
    """Whether a path is a GGUF file, or a directory in which weights are such."""
    if path.is_dir():
        return any(map(is_gguf, path.glob("*.gguf"))) and not any(path.glob("*.safetensors*"))
    return is_gguf(path)


def read_gguf(path: Path) -> Gguf:
    """Reads the headers of a file, of the set that it belongs to, or of the one or the set in a directory.

    Raises:
      CheckpointError: a header is corrupt, a file of the set is missing, or a directory has several checkpoints.
    """
    file = _only(path) if path.is_dir() else path
    header = read_gguf_header(file)
    count = _split(file, header, "split.count", 1)
    return Gguf(file, header.metadata, header.tensors) if count == 1 else _read_set(file, count)


def _only(directory: Path) -> Path:
    """Any file of the checkpoint in a directory."""
    files = sorted(filter(is_gguf, directory.glob("*.gguf")))
    members = (_MEMBER.fullmatch(file.name) for file in files)
    names = {member["name"] if member else file.name for member, file in zip(members, files, strict=True)}
    if len(names) > 1:
        raise CheckpointError(
            f"{directory}: has several GGUF files ({', '.join(sorted(names)[:5])}). Name one of them."
        )
    return files[0]


def _read_set(named: Path, count: int) -> Gguf:
    member = _MEMBER.fullmatch(named.name)
    if member is None:
        raise CheckpointError(
            f"{named}: is one of {count} files (split.count), which are found by their names. Name them "
            f"NAME-00001-of-{count:05}.gguf and so on."
        )
    first: GgufHeader | None = None
    tensors: dict[str, ByteRange] = {}
    for number in range(count):
        file = named.with_name(f"{member['name']}-{number + 1:05}-of-{count:05}.gguf")
        if not is_gguf(file):
            raise CheckpointError(f"{file}: is missing, or no GGUF: {named.name} is one of {count} files. Fetch it.")
        header = read_gguf_header(file)
        first = first or header
        place = _split(file, header, "split.no", 0, least=0), _split(file, header, "split.count", 1)
        if place != (number, count):
            raise CheckpointError(
                f"{file}: split.no={place[0]} and split.count={place[1]}, but its name says file {number} of {count}, "
                "from 0. Fetch it again."
            )
        for name, tensor in header.tensors.items():
            other = tensors.setdefault(name, tensor)
            if other is not tensor:
                raise CheckpointError(f"{file}: tensor {name} is in {other.file} too. Fetch both again.")
    assert first is not None
    everything = first.metadata.get("split.tensors.count", len(tensors))
    if everything != len(tensors):
        raise CheckpointError(
            f"{named}: split.tensors.count={everything}, but its {count} files have {len(tensors)} tensors. Fetch them "
            "again."
        )
    return Gguf(named.with_name(f"{member['name']}-00001-of-{count:05}.gguf"), first.metadata, tensors)


def _split(file: Path, header: GgufHeader, key: str, default: int, least: int = 1) -> int:
    try:
        return size(key, header.metadata.get(key, default), _MOST_FILES, least)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
