"""Checkpoints of Google's gemma_pytorch: a `.ckpt`, or shards in a directory; `-quant` ones have int8 matrices.

Names and shapes: https://github.com/google/gemma_pytorch, `gemma/model.py`. Queries, keys and values are the rows of
one matrix, in this order. An int8 matrix has a scale for each row, `weight_scaler`, as our own int8-weights have: it
stays as it is. Norms are the raw w of 1 + w.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sharding.checkpoint.binding import SCALE_SUFFIX, bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, size
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.huggingface.names import stored_name
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind, tokenizer_file
from sharding.checkpoint.torch_file import is_torch_file, read_torch_file
from sharding.checkpoint.views import Rows, Transposed
from sharding.config import GemmaConfig
from sharding.quantization import Quantization

INDEX_FILE = "pytorch_model.bin.index.json"
_EMBEDDING = "embedder.weight"
_LAYER = "model.layers.0."
_QKV = "self_attn.qkv_proj."
_SCALES = ".weight_scaler"
_ROPE = "freqs_cis"
"""cos + i sin for each position and half of a head's numbers: constant, and all that gives the head's size."""
_HEAD_SIZE = 256
"""Of every Gemma 1, where that is left out."""
_TYPES = ("F32", "F16", "BF16", "I8")


def _recognises(path: Path) -> bool:
    if path.is_file():
        return is_torch_file(path)
    if not (path / INDEX_FILE).is_file():
        return len(_files_of(path)) == 1
    try:
        weight_map = read_json(path / INDEX_FILE).get("weight_map")
    except CheckpointError:
        return True
    # The same file name is that of older checkpoints of transformers, whose embedding has another one.
    return not isinstance(weight_map, dict) or _EMBEDDING in weight_map


def _read_config(path: Path) -> GemmaConfig:
    """The model that the shapes of the tensors give; nothing else describes it."""
    tensors = _read(path)

    def shape(name: str) -> tuple[int, int]:
        if name not in tensors:
            raise CheckpointError(f"{path}: tensor {name} is missing.")
        return tensors[name].shape

    numbers = [int(found[1]) for name in tensors if (found := re.match(r"model\.layers\.(\d{1,9})\.", name))]
    vocab_size, width = shape(_EMBEDDING)
    qkv, queries = shape(f"{_LAYER}{_QKV}weight")[0], shape(f"{_LAYER}self_attn.o_proj.weight")[1]
    mlp = shape(f"{_LAYER}mlp.gate_proj.weight")[0]
    head = 2 * tensors[_ROPE].shape[1] if _ROPE in tensors else _HEAD_SIZE
    if not head or queries % head or (qkv - queries) % (2 * head):
        raise CheckpointError(
            f"{tensors[_EMBEDDING].file}: {qkv} rows of queries, keys and values, {queries} of them queries, are no "
            f"heads of size {head}."
        )
    try:
        config = GemmaConfig(
            vocab_size=size("vocabulary", vocab_size),
            embed_dim=size("width", width),
            mlp_dim=size("MLP width", mlp),
            num_layers=size("layers", max(numbers) + 1, MAX_LAYERS),
            num_heads=size("heads", queries // head),
            num_kv_heads=size("key heads", (qkv - queries) // (2 * head)),
            head_dim=size("head size", head),
            query_scale=head**-0.5,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return config.quantised(Quantization.INT8_WEIGHTS) if tensors[_EMBEDDING].type == "I8" else config


def _read_tensors(path: Path, config: GemmaConfig) -> Tensors:
    stored: dict[str, Matrix] = {}
    for name, tensor in _read(path).items():
        if name == _ROPE:
            continue
        if tensor.type not in _TYPES:
            raise CheckpointError(
                f"{tensor.file}: tensor {name} has the type {tensor.type}; {', '.join(_TYPES)} are supported."
            )
        if name.endswith(_SCALES):
            name = name.removesuffix(_SCALES) + ".weight" + SCALE_SUFFIX
        stored |= _parted(name, tensor, config) if _QKV in name else {name: tensor}
    return bind(config, stored, lambda parameter: _stored_name(parameter, config), where=path)


def _stored_name(parameter: str, config: GemmaConfig) -> str:
    return _EMBEDDING if parameter == "embedder.weight" else stored_name(parameter, config)


def _parted(name: str, tensor: Matrix, config: GemmaConfig) -> Mapping[str, Matrix]:
    """Queries, keys and values of a tensor that has all three, or of their scales, under transformers' names."""
    is_vector = name.endswith(SCALE_SUFFIX)
    column = Transposed.of(tensor) if is_vector else tensor
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    if column.shape[0] != queries + 2 * keys:
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.name} has {column.shape[0]} rows; that of the first layer has "
            f"{queries + 2 * keys}."
        )
    parts = {
        "q_proj": range(queries),
        "k_proj": range(queries, queries + keys),
        "v_proj": range(queries + keys, queries + 2 * keys),
    }
    found: dict[str, Matrix] = {}
    for part, rows in parts.items():
        matrix = Rows.of([(column, rows)])
        found[name.replace("qkv_proj", part)] = Transposed.of(matrix) if is_vector else matrix
    return found


def _read(path: Path) -> dict[str, Matrix]:
    tensors: dict[str, Matrix] = {}
    for file in _files_of(path):
        for name, tensor in read_torch_file(file).items():
            other = tensors.setdefault(name.removeprefix("model_state_dict."), tensor)
            if other is not tensor:
                raise CheckpointError(f"{file}: tensor {name} is in {other.file} too. Remove one.")
    return tensors


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    index_file = path / INDEX_FILE
    if not index_file.exists():
        return [file for file in sorted(path.glob("*.ckpt")) if is_torch_file(file)]
    weight_map = read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index_file}: weight_map is not an object of tensor name to file name.")
    files = {path / Path(shard).name: shard for shard in weight_map.values()}
    for file, shard in files.items():
        if not file.is_file():
            raise CheckpointError(f"{index_file}: names {shard}, which is absent from {path}.")
    return list(files)


def _read_tokenizer(path: Path) -> StoredTokenizer | None:
    file = (path if path.is_dir() else path.absolute().parent) / TokenizerKind.SENTENCEPIECE
    return tokenizer_file(file) if file.is_file() else None


GEMMA_PYTORCH = Format("gemma_pytorch", _recognises, _read_config, _read_tensors, _read_tokenizer)
