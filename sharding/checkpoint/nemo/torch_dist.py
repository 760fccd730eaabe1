"""Distributed checkpoints of PyTorch (`torch_dist`): `.metadata` says where each part of each tensor is in `*.distcp`.

Format: torch/distributed/checkpoint/{metadata,filesystem}.py of PyTorch; each part is a file of torch.save of its own
inside a .distcp file. Keys and shapes: megatron/core/dist_checkpointing/strategies/torch.py of Megatron-LM.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.members import Members
from sharding.checkpoint.nemo.parts import Part, assembled
from sharding.checkpoint.pickle_reader import MAX_BYTES, Record, read_pickle
from sharding.checkpoint.torch_file import read_torch_file

METADATA = ".metadata"

_CLASSES = {
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties"),
        *("MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed._shard.sharded_tensor.metadata": ("TensorProperties", "MEM_FORMAT_ENCODING"),
    "megatron.core.dist_checkpointing.strategies.torch": ("MCoreMetadata",),
    "torch.serialization": ("_get_layout",),
    "pathlib": ("PosixPath", "PurePosixPath"),
    "pathlib._local": ("PosixPath", "PurePosixPath"),
}
_DTYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
_KNOWN: dict[str, object] = {
    **{f"{module} {name}": Record for module, names in _CLASSES.items() for name in names},
    **{f"torch {name}": name for name in _DTYPES},
    "torch Size": lambda axes: axes,
    "collections OrderedDict": lambda: {},
}
_SEGMENT = Encoding("U8", 1, 1, lambda raw: raw)


def read_torch_dist(members: Members, wanted: Callable[[str], bool]) -> dict[str, Matrix]:
    """The tensors of a distributed checkpoint whose keys are wanted, by key; leading axes are rows.

    Raises:
      CheckpointError: it is damaged, or a part is missing.
    """
    where = members.path / METADATA
    try:
        metadata = read_pickle(members.read(METADATA, MAX_BYTES), _KNOWN)
        descriptions, stored = (_attribute(metadata, name) for name in ("state_dict_metadata", "storage_data"))
        places = {
            (_attribute(index, "fqn"), _numbers(offset)): info
            for index, info in stored.items()
            if (offset := index.attributes.get("offset")) is not None  # of bytes there is none
        }
        placed: dict[str, list[tuple[tuple[int, ...], tuple[int, ...], ByteRange]]] = {}
        for key, description in descriptions.items():
            if not isinstance(key, str) or not wanted(key) or "chunks" not in description.attributes:
                continue
            placed[key] = []
            for chunk in _attribute(description, "chunks"):
                offsets, sizes = (_numbers(_attribute(chunk, name)) for name in ("offsets", "sizes"))
                placed[key].append((offsets, sizes, _segment(members, key, places[key, offsets])))
        # Before they are read: all parts might name the same bytes, to be read as often.
        _check_apart(segment for parts in placed.values() for *_, segment in parts)
        return {
            key: assembled(
                key, where, _numbers(_attribute(descriptions[key], "size")), [_part(key, *part) for part in parts]
            )
            for key, parts in placed.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: damaged: {_short(error)}. Fetch it again.") from error


def _part(key: str, offsets: tuple[int, ...], sizes: tuple[int, ...], segment: ByteRange) -> Part:
    matrix = read_torch_file(segment.file, segment.offset, segment.shape[1]).get("")
    if matrix is None or matrix.axes != sizes:
        raise CheckpointError(f"{segment.file}: the part of tensor {key} at {offsets} is not of shape {sizes}.")
    return Part(offsets, sizes, matrix)


def _check_apart(segments: Iterable[ByteRange]) -> None:
    by_file: dict[Path, list[ByteRange]] = {}
    for segment in segments:
        by_file.setdefault(segment.file, []).append(segment)
    for ranges in by_file.values():
        check_apart(ranges)


def _segment(members: Members, key: str, info: object) -> ByteRange:
    path, offset, length = (_attribute(info, name) for name in ("relative_path", "offset", "length"))
    if not isinstance(path, str):
        raise ValueError(f"tensor {key} is in no file")
    if path not in members.extents:
        raise ValueError(f"tensor {key} is in {path[:100]!r}, which is missing")
    extent = members.extents[path]
    offset, length = _numbers((offset, length))
    if offset + length > extent.size:
        raise ValueError(f"truncated: tensor {key} ends at byte {offset + length} of {path}, which has {extent.size}")
    if isinstance(info, Record) and info.attributes.get("transform_descriptors"):
        raise ValueError(f"tensor {key} is transformed (compressed), which is not supported")
    return ByteRange.of(key, extent.file, (length,), extent.offset + offset, _SEGMENT)


def _attribute(record: object, name: str) -> Any:
    if not isinstance(record, Record) or name not in record.attributes:
        raise ValueError(f"it lacks {name}")
    return record.attributes[name]


def _numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(isinstance(number, int) and number >= 0 for number in value):
        raise ValueError("a tuple of numbers is missing")
    return value


def _short(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else type(error).__name__
