"""Writes NeMo checkpoints by the rules of their forms, without NeMo, Megatron or torch."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tensorstore
import yaml
from sentencepiece.sentencepiece_model_pb2 import ModelProto, NormalizerSpec, TrainerSpec

from tests.sharding.checkpoint.files import Tensors
from tests.sharding.checkpoint.torch_files import Call, Global, Opcodes, TorchFile, dumps, write_torch_file

PADDED_ROWS = 32
"""Of the vocabulary, behind the tokenizer's; their numbers are large, so that nobody takes them for zeros."""
TOKENIZER = "0123456789abcdef_tokenizer.model"


def megatron_tensors(config: Mapping[str, Any], tensors: Tensors, norms_plus_one: bool = True) -> Tensors:
    """The tensors of a Hugging Face Gemma under Megatron's names, fused, the vocabulary padded."""
    heads, groups, head = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    embed = config["hidden_size"]
    dtype = tensors["model.norm.weight"].dtype

    def norm(name: str) -> Any:
        return (tensors[name] + np.asarray(norms_plus_one, dtype)).astype(dtype)

    table = tensors["model.embed_tokens.weight"]
    found = {
        "embedding.word_embeddings.weight": np.concatenate([table, np.full((PADDED_ROWS, embed), 9, dtype)]),
        "decoder.final_layernorm.weight": norm("model.norm.weight"),
    }
    for layer in range(config["num_hidden_layers"]):
        ours, theirs = f"model.layers.{layer}.", f"decoder.layers.{layer}."
        q, k, v = (tensors[f"{ours}self_attn.{name}_proj.weight"] for name in "qkv")
        q = q.reshape(groups, heads // groups, head, embed)
        k, v = (each.reshape(groups, 1, head, embed) for each in (k, v))
        qkv = np.concatenate([q, k, v], 1).reshape(-1, embed)
        found[theirs + "self_attention.linear_qkv.weight"] = qkv
        found[theirs + "self_attention.linear_qkv.layer_norm_weight"] = norm(ours + "input_layernorm.weight")
        found[theirs + "self_attention.linear_proj.weight"] = tensors[ours + "self_attn.o_proj.weight"]
        gate, up = (tensors[f"{ours}mlp.{name}_proj.weight"] for name in ("gate", "up"))
        found[theirs + "mlp.linear_fc1.weight"] = np.concatenate([gate, up])
        found[theirs + "mlp.linear_fc1.layer_norm_weight"] = norm(ours + "post_attention_layernorm.weight")
        found[theirs + "mlp.linear_fc2.weight"] = tensors[ours + "mlp.down_proj.weight"]
    return found


def stacked(tensors: Tensors) -> Tensors:
    """All layers' tensors of one name as one, with an axis of layers before the others."""
    by_name: dict[str, list[Any]] = {}
    for key, value in tensors.items():
        parts = key.split(".")
        name = ".".join(part for part in parts if not part.isdigit())
        by_name.setdefault(name, []).append(value)
    return {name: np.stack(values) if ".layers." in name else values[0] for name, values in by_name.items()}


def nemo1_config(config: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A `model_config.yaml`."""
    return {
        "encoder_seq_length": config["max_position_embeddings"],
        "max_position_embeddings": config["max_position_embeddings"],
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "num_attention_heads": config["num_attention_heads"],
        "num_query_groups": config["num_key_value_heads"],
        "kv_channels": config["head_dim"],
        "layernorm_epsilon": config["rms_norm_eps"],
        "normalization": "rmsnorm",
        "activation": "geglu",
        "bias": False,
        "position_embedding_type": "rope",
        "rotary_percentage": 1.0,
        "apply_embedding_scaling": True,
        "share_embeddings_and_output_weights": True,
        "tensor_model_parallel_size": 1,
        "pipeline_model_parallel_size": 1,
        "tokenizer": {"library": "sentencepiece", "model": f"nemo:{TOKENIZER}"},
        **changes,
    }


def write_nemo1(directory: Path, config: Mapping[str, Any], **changes: Any) -> Path:
    """Writes what is beside the weights of a NeMo 1 checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model_config.yaml").write_text(yaml.safe_dump(nemo1_config(config, **changes)))
    (directory / TOKENIZER).write_bytes(tokenizer(config["vocab_size"]))
    return directory


def write_nemo2(directory: Path, config: Mapping[str, Any], **changes: Any) -> Path:
    """Writes what is beside the weights of a NeMo 2 checkpoint."""
    (directory / "context" / "nemo_tokenizer").mkdir(parents=True)
    fields = {
        "_target_": "nemo.collections.llm.gpt.model.gemma.GemmaConfig",
        "activation_func": {"_call_": False, "_target_": "nemo.collections.llm.fn.activation.openai_gelu"},
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "num_attention_heads": config["num_attention_heads"],
        "num_query_groups": config["num_key_value_heads"],
        "kv_channels": config["head_dim"],
        "layernorm_epsilon": config["rms_norm_eps"],
        "seq_length": config["max_position_embeddings"],
        **changes,
    }
    model = {"_target_": "nemo.collections.llm.gpt.model.gemma.GemmaModel", "config": fields}
    (directory / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    (directory / "context" / "nemo_tokenizer" / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))
    return directory


def tokenizer(size: int) -> bytes:
    """A SentencePiece model of so many pieces."""
    model = ModelProto(
        trainer_spec=TrainerSpec(model_type=TrainerSpec.BPE, vocab_size=size),
        normalizer_spec=NormalizerSpec(name="identity"),
    )
    for number in range(size):
        model.pieces.add(piece=f"piece {number}", score=-number)
    data: bytes = model.SerializeToString()
    return data


def write_ranks(directory: Path, tensors: Tensors, layers: int, tensor_ranks: int = 1, stages: int = 1) -> None:
    """Writes a flat file, or one for each rank."""
    for rank in range(tensor_ranks):
        for stage in range(stages):
            per_stage = layers // stages
            part: dict[str, object] = {"model.rotary_pos_emb.inv_freq": np.ones(4, np.float32)}
            for key, value in tensors.items():
                if ".layers." not in key:
                    if stage == (0 if "embedding" in key else stages - 1):
                        part["model." + key] = _of_rank(key, value, rank, tensor_ranks)
                    continue
                head, index, name = key.split(".", 3)[1], int(key.split(".", 3)[2]), key.split(".", 3)[3]
                if index // per_stage == stage:
                    local = f"model.decoder.{head}.{index % per_stage}.{name}"
                    part[local] = _of_rank(key, value, rank, tensor_ranks)
                    part[f"model.decoder.{head}.{index % per_stage}.self_attention._extra_state"] = None
            folder = directory
            if (tensor_ranks, stages) != (1, 1):
                folder = directory / (f"tp_rank_{rank:02}_pp_rank_{stage:03}" if stages > 1 else f"mp_rank_{rank:02}")
            folder.mkdir(exist_ok=True)
            write_torch_file(folder / "model_weights.ckpt", part)


def _of_rank(key: str, value: Any, rank: int, ranks: int) -> Any:
    if "norm" in key:
        return value
    if key.endswith(("linear_fc1.weight", "lora_hto4h_adapter.linear_out.weight")):
        gate, up = np.split(value, 2)
        return np.concatenate([np.split(gate, ranks)[rank], np.split(up, ranks)[rank]])
    by_inputs = "linear_proj.weight", "linear_fc2.weight", "dense_attention_adapter.linear_in.weight"
    axis = 1 if key.endswith((*by_inputs, "4htoh_adapter.linear_in.weight")) else 0
    return np.ascontiguousarray(np.split(value, ranks, axis)[rank])


def write_zarr(folder: Path, tensors: Tensors, prefix: str, compressor: object = None) -> None:
    """Writes stacked tensors by tensorstore: a chunk for each layer, fc1 in two, the projection in two columns."""
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({"sharded_backend": "zarr", "sharded_backend_version": 1}))
    (folder / "common.pt").write_bytes(b"no pickle that anybody reads")
    for key, value in (tensors | {"optimizer.state": np.ones((3, 4), np.float32)}).items():
        chunks = list(value.shape)
        if ".layers." in key:
            chunks[0] = 1
        if key.endswith("linear_fc1.weight"):
            chunks[-2] //= 2
        if key.endswith("linear_proj.weight"):
            chunks[-1] //= 2
        dtype = "bfloat16" if value.dtype == ml_dtypes.bfloat16 else value.dtype.str
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder / (prefix + key))},
            "metadata": {"shape": value.shape, "chunks": chunks, "dtype": dtype, "compressor": compressor},
            "create": True,
        }
        tensorstore.open(spec).result().write(value).result()


_DCP = "torch.distributed.checkpoint.metadata"
_DTYPES = {np.dtype(np.float32): "float32", np.dtype(np.float16): "float16", np.dtype(ml_dtypes.bfloat16): "bfloat16"}


def write_torch_dist(folder: Path, tensors: Tensors, prefix: str, ranks: int = 1) -> None:
    """Writes tensors, each in so many parts of its second last axis, all in two files."""
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist", "sharded_backend_version": 1}))
    files: dict[str, bytearray] = {"__0_0.distcp": bytearray(), "__0_1.distcp": bytearray()}
    described: dict[str, object] = {}
    stored: list[tuple[object, object]] = []
    for number, (name, value) in enumerate(tensors.items()):
        key = prefix + name
        chunks: list[object] = []
        axis = max(value.ndim - 2, 0)
        pieces = ranks if value.shape[axis] % ranks == 0 and value.ndim > 1 else 1
        for index, piece in enumerate(np.split(value, pieces, axis)):
            file = f"__0_{(number + index) % 2}.distcp"
            data = TorchFile().data(np.ascontiguousarray(piece))
            offsets = tuple(index * piece.shape[axis] if each == axis else 0 for each in range(value.ndim))
            chunks.append(_record("ChunkStorageMetadata", offsets=_size(offsets), sizes=_size(piece.shape)))
            where = _record("MetadataIndex", fqn=key, offset=_size(offsets), index=index)
            stored.append((where, _place(file, len(files[file]), len(data))))
            files[file] += data
        properties = _record("TensorProperties", dtype=Global(f"torch {_DTYPES[value.dtype]}"))
        described[key] = _record("TensorStorageMetadata", properties=properties, size=_size(value.shape), chunks=chunks)
    described["x._extra_state/shard_0_1"] = _record("BytesStorageMetadata")
    stored.append((_record("MetadataIndex", fqn="x._extra_state/shard_0_1"), _place("__0_0.distcp", 0, 1)))
    path = Call(Global("pathlib PosixPath"), ("somewhere",))
    metadata = _record(
        "Metadata",
        state_dict_metadata=described,
        planner_data=None,
        storage_data=_mapping(stored),
        storage_meta=_record("StorageMeta", checkpoint_id=path),
    )
    (folder / ".metadata").write_bytes(dumps(metadata))
    for file, content in files.items():
        (folder / file).write_bytes(bytes(content))


def _record(name: str, **attributes: object) -> Call:
    return Call(Global(f"{_DCP} {name}"), (), attributes)


def _place(file: str, offset: int, length: int) -> Call:
    attributes = {"relative_path": file, "offset": offset, "length": length, "transform_descriptors": None}
    return Call(Global("torch.distributed.checkpoint.filesystem _StorageInfo"), (), attributes)


def _size(sizes: tuple[int, ...]) -> Call:
    return Call(Global("torch Size"), (tuple(sizes),))


def _mapping(items: list[tuple[object, object]]) -> Opcodes:
    """A dict whose keys are objects."""
    return Opcodes(b"}(" + b"".join(dumps(key)[2:-1] + dumps(value)[2:-1] for key, value in items) + b"u")


def write_flat(directory: Path, config: Mapping[str, Any], tensors: Tensors) -> Path:
    """NeMo 1 with one file of weights."""
    write_ranks(write_nemo1(directory, config), megatron_tensors(config, tensors), config["num_hidden_layers"])
    return directory


def write_parallel(
    directory: Path, config: Mapping[str, Any], tensors: Tensors, tensor_ranks: int, stages: int
) -> Path:
    """NeMo 1 with a file of weights for each rank."""
    parallel = {"tensor_model_parallel_size": tensor_ranks, "pipeline_model_parallel_size": stages}
    write_nemo1(directory, config, **parallel)
    theirs = megatron_tensors(config, tensors)
    write_ranks(directory, theirs, config["num_hidden_layers"], tensor_ranks, stages)
    return directory


def write_nemo1_zarr(directory: Path, config: Mapping[str, Any], tensors: Tensors, compressor: object = None) -> Path:
    """NeMo 1 with a distributed checkpoint in zarr."""
    theirs = stacked(megatron_tensors(config, tensors))
    write_zarr(write_nemo1(directory, config) / "model_weights", theirs, "model.", compressor)
    return directory


def write_nemo1_torch_dist(directory: Path, config: Mapping[str, Any], tensors: Tensors, ranks: int = 1) -> Path:
    """NeMo 1 with a distributed checkpoint of PyTorch."""
    theirs = stacked(megatron_tensors(config, tensors))
    write_torch_dist(write_nemo1(directory, config) / "model_weights", theirs, "model.module.", ranks)
    return directory


def write_nemo2_stacked(directory: Path, config: Mapping[str, Any], tensors: Tensors) -> Path:
    """NeMo 2, all layers' tensors of one name in one."""
    theirs = stacked(megatron_tensors(config, tensors, norms_plus_one=False))
    write_torch_dist(write_nemo2(directory, config) / "weights", theirs, "module.", 2)
    return directory


def write_nemo2_by_layer(directory: Path, config: Mapping[str, Any], tensors: Tensors) -> Path:
    """NeMo 2, each layer's tensors under its number."""
    theirs = megatron_tensors(config, tensors, norms_plus_one=False)
    write_torch_dist(write_nemo2(directory, config) / "weights", theirs, "module.")
    return directory


BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
NEMO_LAYOUTS: dict[str, Callable[..., Path]] = {
    "flat": write_flat,
    "ranks": partial(write_parallel, tensor_ranks=1, stages=2),
    "zarr": write_nemo1_zarr,
    "zarr in blosc": partial(write_nemo1_zarr, compressor=BLOSC),
    "zarr in zlib": partial(write_nemo1_zarr, compressor={"id": "zlib", "level": 3}),
    "zarr in gzip": partial(write_nemo1_zarr, compressor={"id": "gzip", "level": 3}),
    "torch_dist": write_nemo1_torch_dist,
    "torch_dist of 4 ranks": partial(write_nemo1_torch_dist, ranks=4),
    "NeMo 2": write_nemo2_stacked,
    "NeMo 2 by layer": write_nemo2_by_layer,
}
"""Each writes a directory, from a Hugging Face configuration and its tensors."""
