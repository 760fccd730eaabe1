"""Checkpoints of Jlama: safetensors with blocks of 32, whose scales are a tensor of their own.

Format: `quantizeModel` of https://github.com/tjake/Jlama. A matrix of type Q4 or I8 has F32 scales under its name and
`.qb`, one for each block along a row. In 16 bytes of Q4, byte i has number i in its lower half and i + 16 in its upper
one, each 8 more than the value. Vectors are saved as one row; norms are raw w. Names and `config.json` are those of
Hugging Face.
"""

from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.byte_range import ByteRange, Encoding
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.grouped import GroupedMatrix, kept
from sharding.checkpoint.huggingface import read_config, read_tokenizer
from sharding.checkpoint.huggingface.names import stored_name
from sharding.checkpoint.huggingface.safetensors import PLAIN, read_entries, read_header
from sharding.checkpoint.huggingface.tensors import EMBEDDING, HEAD, SINGLE_FILE
from sharding.checkpoint.int4 import unpack_halves
from sharding.checkpoint.matrix import INTEGERS, Matrix
from sharding.checkpoint.tied_head import drop_tied_head
from sharding.config import NOT_QUANTISED, GemmaConfig
from sharding.quantization import GROUP, Quantization

_Q4 = Encoding("Q4", GROUP, GROUP // 2, lambda raw: unpack_halves(raw.reshape(len(raw), -1, GROUP // 2)))
_ENCODINGS = PLAIN | {"Q4": _Q4}
_QUANTIZATIONS = {"Q4": Quantization.INT4, "I8": Quantization.INT8_GROUPS}
_OF_JLAMA = frozenset({"Q4", "Q5"})
"""Types that only Jlama writes; I8 is also of others, without scales of this name."""
_SCALES = ".qb"


def _file(path: Path) -> Path:
    return path / SINGLE_FILE if path.is_dir() else path


def _recognises(path: Path) -> bool:
    if not _file(path).is_file():
        return False
    try:
        entries, _ = read_entries(_file(path))
        return any(name.endswith(_SCALES) or entry.get("dtype") in _OF_JLAMA for name, entry in entries.items())
    except (CheckpointError, AttributeError, TypeError):
        return False


def _read_stored(path: Path) -> dict[str, Matrix]:
    tensors = read_header(_file(path), _ENCODINGS)
    return {
        name: _grouped(tensor, tensors.get(name + _SCALES)) if tensor.type in _QUANTIZATIONS else tensor
        for name, tensor in tensors.items()
        if name.removesuffix(_SCALES) not in tensors or not name.endswith(_SCALES)
    }


def _grouped(values: ByteRange, scales: ByteRange | None) -> Matrix:
    rows, columns = values.shape
    if scales is None or scales.type in INTEGERS or scales.shape != (rows, columns // GROUP) or columns % GROUP:
        found = "missing" if scales is None else f"of type {scales.type} and shape {scales.shape}"
        raise CheckpointError(
            f"{values.file}: tensor {values.name} of type {values.type} and shape {values.shape} needs scales "
            f"{values.name}{_SCALES} for each {GROUP} numbers of a row, which are {found}."
        )
    return GroupedMatrix(
        name=values.name,
        file=values.file,
        shape=values.shape,
        type=f"{values.type} with scales",
        values=values,
        scales=scales,
        quantization=_QUANTIZATIONS[values.type],
    )


def _read_config(path: Path) -> GemmaConfig:
    config, stored = read_config(path), _read_stored(path)
    projections = [matrix for name, matrix in stored.items() if name.endswith("_proj.weight")]
    embedding = stored.get(EMBEDDING)
    if embedding is None:
        raise CheckpointError(f"{_file(path)}: tensor {EMBEDDING} (parameter embedder.weight) is missing.")
    return kept(config, projections, embedding)


def _read_tensors(path: Path, config: GemmaConfig) -> Tensors:
    stored = _read_stored(path)
    drop_tied_head(stored, HEAD, EMBEDDING)
    return bind(
        config.quantised(NOT_QUANTISED), stored, lambda parameter: stored_name(parameter, config), where=_file(path)
    )


JLAMA = Format("Jlama safetensors", _recognises, _read_config, _read_tensors, read_tokenizer)
