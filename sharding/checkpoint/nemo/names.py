"""The names of Megatron's tensors, and what of our parameters each of them holds.

Names and orders: nemo/collections/llm/gpt/model/gemma.py and scripts/checkpoint_converters/convert_gemma_hf_to_nemo.py
of NeMo.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.tied_head import drop_tied_head
from sharding.checkpoint.views import MinusOne, Rows
from sharding.config import GemmaConfig

LAYER = re.compile(r"decoder\.layers\.(\d{1,9})\.(.+)")
_STACKED = re.compile(r"decoder\.layers\.([a-z].+)")
_PREFIXES = ("model.module.", "model.", "module.")
_LEGACY_DECODER = "language_model.encoder."
"""The decoder of models that are not Megatron-core's."""
_EMBEDDING = "embedding.word_embeddings.weight"
_HEAD = "output_layer.weight"
_FINAL_NORM = "decoder.final_layernorm.weight"

_WHOLE = {
    "self_attention.linear_qkv.layer_norm_weight": "pre_attention_norm",
    "self_attention.linear_proj.weight": "attention.o",
    "mlp.linear_fc1.layer_norm_weight": "pre_mlp_norm",
    "mlp.linear_fc2.weight": "mlp.down",
}
_QKV = "self_attention.linear_qkv.weight"
_FC1 = "mlp.linear_fc1.weight"
_FUSED = {_QKV: ("attention.q", "attention.k", "attention.v"), _FC1: ("mlp.gate", "mlp.up")}
_TENSOR_OF = {path: name for name, path in _WHOLE.items()} | {
    path: name for name, paths in _FUSED.items() for path in paths
}


def wanted(key: str) -> bool:
    """Whether a tensor is one of the weights; not an optimizer's state or an extra state."""
    name = canonical(key)
    return name.startswith(("decoder.", "embedding.", "output_layer.")) and "_extra_state" not in name


def canonical(key: str) -> str:
    """A key without what the writer's wrappers put before it."""
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            key = key.removeprefix(prefix)
            break
    return "decoder." + key.removeprefix(_LEGACY_DECODER) if key.startswith(_LEGACY_DECODER) else key


def stored_name(path: str) -> str:
    """The name of the tensor that holds a parameter; what several hold, each under its own name."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            name = f"decoder.layers.{layer}.{_TENSOR_OF[parameter]}"
            return f"{name} ({parameter})" if _TENSOR_OF[parameter] in _FUSED else name
        case ["embedder", "weight"]:
            return _EMBEDDING
        case _:
            return _FINAL_NORM


def split(tensors: Mapping[str, Matrix], config: GemmaConfig, where: Path, norms_plus_one: bool) -> dict[str, Matrix]:
    """The tensors of a checkpoint as matrices of one parameter each, by `stored_name`.

    Args:
      tensors: by key; with the layers' numbers in the keys, or without and the layers below each other.
      config: of the model.
      where: the checkpoint, for error messages.
      norms_plus_one: norms are stored as 1 + w.

    Raises:
      CheckpointError: a tensor is there twice, its rows are not as many as the model's, or the head is not the
        embedding.
    """
    found: dict[str, Matrix] = {}
    for key, matrix in tensors.items():
        for name, part in by_layer(canonical(key), matrix, config.num_layers).items():
            if name in found:
                raise CheckpointError(f"{where}: has two tensors {name}.")
            found[name] = replace(part, name=name)
    drop_tied_head(found, _HEAD, _EMBEDDING)
    return {
        name: MinusOne.of(part) if norms_plus_one and "norm" in name else part
        for whole, matrix in found.items()
        for name, part in _by_parameter(whole, matrix, config).items()
    }


def by_layer(name: str, matrix: Matrix, layers: int) -> dict[str, Matrix]:
    """A tensor, or what each layer has of one in which all layers lie below each other, by name.

    Raises:
      CheckpointError: its rows do not divide by the layers.
    """
    match = _STACKED.fullmatch(name)
    if match is None:
        return {name: matrix}
    rows = matrix.shape[0]
    if rows % layers:
        raise CheckpointError(f"{matrix.file}: tensor {name} has {rows} rows, which do not divide by {layers} layers.")
    height = rows // layers
    return {
        f"decoder.layers.{layer}.{match[1]}": Rows.of([(matrix, range(layer * height, (layer + 1) * height))])
        for layer in range(layers)
    }


def _by_parameter(name: str, matrix: Matrix, config: GemmaConfig) -> dict[str, Matrix]:
    if name == _EMBEDDING:
        rows = config.vocab_size
        if matrix.shape[0] < rows:
            raise CheckpointError(
                f"{matrix.file}: tensor {name} has {matrix.shape[0]} rows for a vocabulary of {rows}."
            )
        return {name: Rows.of([(matrix, range(rows))])}  # rows that pad the vocabulary are left out
    match = LAYER.fullmatch(name)
    if match is None or match[2] not in _FUSED:
        return {name: matrix}
    pieces = qkv_rows(config) if match[2] == _QKV else fc1_rows(config)
    expected = sum(len(rows) for piece in pieces for rows in piece)
    if matrix.shape[0] != expected:
        raise CheckpointError(
            f"{matrix.file}: tensor {name} has {matrix.shape[0]} rows; the configuration asks for {expected}."
        )
    return {
        f"{name} ({parameter})": Rows.of([(matrix, rows) for rows in piece])
        for parameter, piece in zip(_FUSED[match[2]], pieces, strict=True)
    }


def qkv_rows(config: GemmaConfig) -> tuple[list[range], ...]:
    """The rows of q, k and v in the tensor that has all: group after group, its queries, its key and its value."""
    queries = config.num_heads // config.num_kv_heads * config.head_dim
    group = queries + 2 * config.head_dim
    bounds = (0, queries, queries + config.head_dim, group)
    starts = range(0, config.num_kv_heads * group, group)
    return tuple([range(start + bounds[n], start + bounds[n + 1]) for start in starts] for n in range(3))


def fc1_rows(config: GemmaConfig, ranks: int = 1) -> tuple[list[range], ...]:
    """The rows of gate and up in the tensor that has both: rank after rank of `ranks`, its gate and its up."""
    part = config.mlp_dim // ranks
    gates = [range(2 * part * rank, 2 * part * rank + part) for rank in range(ranks)]
    return gates, [range(gate.stop, gate.stop + part) for gate in gates]
