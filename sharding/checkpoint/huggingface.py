"""Checkpoints of Hugging Face transformers: a directory of `config.json` and safetensors files.

Format: https://github.com/huggingface/safetensors#format. Norm weights are stored as w, of a factor 1 + w.

Quantised ones are of our own making (`writer`): a matrix is I8, or two numbers of 4 bits in each byte of U8, and its
scales are F32 under its name and `_scale`; `config.json` says so in `quantization_config`.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.huggingface_config import gemma_config_from_hf
from sharding.checkpoint.int4 import unpack_int4
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import Encoding, StoredTensor, TensorSource
from sharding.config import GemmaConfig

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_DTYPES: dict[str, npt.DTypeLike] = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I8": np.int8,
}
_PACKED_INT4 = "U8"
_MAX_HEADER = 100 * 2**20
"""The format's own limit."""

_LAYER_NAMES = {
    "pre_attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "pre_mlp_norm": "pre_feedforward_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "post_mlp_norm": "post_feedforward_layernorm",
}
# Gemma 1 has two norms in a layer, and its second one, before the MLP, is the "post_attention_layernorm".
_GEMMA1_LAYER_NAMES = _LAYER_NAMES | {"pre_mlp_norm": "post_attention_layernorm"}

# Where the text model sits in a multimodal checkpoint, by age of the writer.
_TEXT_PREFIXES = ("language_model.", "model.language_model.")
_VISION_PREFIXES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def read_huggingface_config(directory: Path) -> GemmaConfig:
    """The model's shape, by the directory's config.json.

    Raises:
      CheckpointError: it is missing, or describes no supported model.
    """
    config_file = directory / CONFIG_FILE
    try:
        return gemma_config_from_hf(_read_json(config_file))
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{config_file}: {error}") from error


def read_huggingface(directory: Path) -> tuple[GemmaConfig, dict[str, TensorSource | QuantisedSource]]:
    """The model in a directory: its configuration and its parameters by path.

    Raises:
      CheckpointError: a file or tensor is missing, superfluous, wrongly shaped, truncated or not understood.
    """
    config = read_huggingface_config(directory)
    stored: dict[str, StoredTensor] = {}
    for file, names in _shards(directory).items():
        tensors = read_header(file)
        absent = sorted(names - tensors.keys())
        if absent:
            raise CheckpointError(f"{file}: tensor {absent[0]}, which {INDEX_FILE} places here, is missing.")
        for name, tensor in tensors.items():
            if _ignored(name):
                continue
            other = stored.setdefault(_text_name(name), tensor)
            if other is not tensor:
                raise CheckpointError(f"{file}: tensor {name} is in {other.file} too. Remove one.")
    return config, bind(config, stored, lambda path: stored_name(path, config), where=str(directory))


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file, by name."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        prefix = opened.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= _MAX_HEADER:
            raise CheckpointError(f"{file}: no safetensors file: its header is said to have {length} bytes.")
        if 8 + length > size:
            raise CheckpointError(f"{file}: truncated: the header ends at byte {8 + length}, the file at byte {size}.")
        text = opened.read(length)
    try:
        header = json.loads(text)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _stored_tensor(file, name, entry, data_start=8 + length) for name, entry in entries.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: corrupt safetensors header: {error!r}.") from error


def _stored_tensor(file: Path, name: str, entry: Mapping[str, Any], data_start: int) -> StoredTensor:
    kind = entry["dtype"]
    if kind not in _DTYPES and kind != _PACKED_INT4:
        raise CheckpointError(f"{file}: tensor {name} has the type {kind}; {', '.join(_DTYPES)} are supported.")
    begin, end = entry["data_offsets"]
    shape = tuple(int(size) for size in entry["shape"])
    if kind == _PACKED_INT4:
        shape = (*shape[:-1], 2 * shape[-1])
        encoding = Encoding(name="I4", block=2, block_bytes=1, decode=unpack_int4)
    else:
        dtype = np.dtype(_DTYPES[kind])
        encoding = Encoding(name=kind, block=1, block_bytes=dtype.itemsize, decode=lambda raw: raw.view(dtype))
    tensor = StoredTensor(name=name, file=file, shape=shape, offset=data_start + begin, encoding=encoding)
    if tensor.nbytes != end - begin or begin < 0:
        raise CheckpointError(
            f"{file}: tensor {name} of shape {shape} takes {tensor.nbytes} bytes as {kind}, "
            f"but the header gives it bytes {begin} to {end}."
        )
    return tensor


def _shards(directory: Path) -> dict[Path, set[str]]:
    """The safetensors files, each with the names that the index places in it (none without an index)."""
    index_file = directory / INDEX_FILE
    if not index_file.exists():
        single = directory / _SINGLE
        if not single.exists():
            raise CheckpointError(f"{directory}: there is neither {_SINGLE} nor {INDEX_FILE}.")
        return {single: set()}
    shards: dict[Path, set[str]] = {}
    weight_map = _read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index_file}: weight_map is not an object of tensor name to file name.")
    for name, shard in weight_map.items():
        file = directory / Path(shard).name
        if not file.exists():
            raise CheckpointError(f"{index_file}: tensor {name} is in {shard}, which is absent from {directory}.")
        shards.setdefault(file, set()).add(name)
    return shards


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing.") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object.")
    return content


def _ignored(name: str) -> bool:
    # The output projection is the embedding; other tools write it, or RoPE's constant frequencies, nevertheless.
    return name.endswith(("lm_head.weight", "rotary_emb.inv_freq")) or name.startswith(_VISION_PREFIXES)


def _text_name(name: str) -> str:
    for prefix in _TEXT_PREFIXES:
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix).removeprefix("model.")
    return name


def stored_name(path: str, config: GemmaConfig) -> str:
    """What a parameter is called in the files."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            names = _LAYER_NAMES if config.post_norms else _GEMMA1_LAYER_NAMES
            return f"model.layers.{layer}.{names[parameter]}.weight"
        case ["embedder", "weight"]:
            return "model.embed_tokens.weight"
        case _:
            return "model.norm.weight"
