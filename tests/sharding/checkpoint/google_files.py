"""Writes small checkpoints in Google's three forms: Orbax, Keras and gemma_pytorch."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import numpy.typing as npt
import tensorstore as ts

from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from tests.sharding.checkpoint.files import Tensors, expected_parameters, plain
from tests.sharding.checkpoint.torch_files import write_torch_file


def assert_same_model(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    """Looks that a checkpoint has the shape and the parameters of a Hugging Face one, whole and in parts."""
    checkpoint = open_checkpoint(path)
    assert replace(checkpoint.config, max_context=config["max_position_embeddings"]) == gemma_config_from_hf(config)
    expected = expected_parameters(config, tensors)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        dtype = expected[name].dtype
        np.testing.assert_array_equal(plain(source).read((), dtype), expected[name], strict=True)
        for axis, size in enumerate(source.shape):
            part = (*(slice(None),) * axis, slice(size // 4, size // 2))
            np.testing.assert_array_equal(plain(source).read(part, dtype), expected[name][part], strict=True)


def orbax_arrays(config: Mapping[str, Any], tensors: Tensors, padding: int = 0) -> Tensors:
    """The tensors under the names and with the axes of Google's Flax, with so many rows of padding."""
    heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
    embedding = tensors["model.embed_tokens.weight"]
    arrays = {
        "transformer/embedder.input_embedding": np.pad(embedding, ((0, padding), (0, 0)), constant_values=100),
        "transformer/final_norm.scale": tensors["model.norm.weight"],
    }
    for layer in range(config["num_hidden_layers"]):

        def of(name: str, layer: int = layer) -> npt.NDArray[Any]:
            return tensors[f"model.layers.{layer}.{name}.weight"]

        q, k, v = (
            _heads(of(f"self_attn.{name}_proj"), count) for name, count in zip("qkv", (heads, keys, keys), strict=True)
        )
        projections = (
            {"qkv_einsum": np.stack([q, k, v])} if heads == keys else {"q_einsum": q, "kv_einsum": np.stack([k, v])}
        )
        output = of("self_attn.o_proj").T.reshape(heads, -1, config["hidden_size"])
        block = {
            "pre_attention_norm.scale": of("input_layernorm"),
            "pre_ffw_norm.scale": of("post_attention_layernorm"),
            **{f"attn/{name}.w": array for name, array in projections.items()},
            "attn/attn_vec_einsum.w": output,
            "mlp/gating_einsum.w": np.stack([of("mlp.gate_proj").T, of("mlp.up_proj").T]),
            "mlp/linear.w": of("mlp.down_proj").T,
        }
        arrays |= {f"transformer/layer_{layer}/{name}": array for name, array in block.items()}
    return arrays


def write_orbax(directory: Path, arrays: Tensors, *, is_database: bool, chunks: int = 1) -> Path:
    """Writes arrays as Orbax does, the first axis of each in so many chunks if it can be."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {"driver": "file", "path": f"{directory}/"}
    specs = {}
    for name, array in arrays.items():
        parts = chunks if len(array) % chunks == 0 else 1
        specs[name] = {
            "driver": "zarr",
            "kvstore": {"driver": "ocdbt", "base": files, "path": f"{name}/"}
            if is_database
            else files | {"path": f"{directory}/{name}/"},
            "metadata": {
                "shape": array.shape,
                "chunks": [len(array) // parts, *array.shape[1:]],
                "compressor": {"id": "zstd", "level": 1},
            },
            "dtype": array.dtype.name,
        }
    with ts.Transaction() as transaction:
        for name, spec in specs.items():
            ts.open(spec, create=True, transaction=transaction).result().write(arrays[name]).result()
    (directory / "_METADATA").write_text("{}")
    return directory


def keras_datasets(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    """The tensors under the names and with the axes of KerasHub."""
    heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
    datasets = {
        "layers/reversible_embedding/vars/0": tensors["model.embed_tokens.weight"],
        "layers/rms_normalization/vars/0": tensors["model.norm.weight"],
    }
    for layer in range(config["num_hidden_layers"]):

        def of(name: str, layer: int = layer) -> npt.NDArray[Any]:
            return tensors[f"model.layers.{layer}.{name}.weight"]

        block = {
            "pre_attention_norm": of("input_layernorm"),
            "pre_ffw_norm": of("post_attention_layernorm"),
            "attention/query_dense": _heads(of("self_attn.q_proj"), heads),
            "attention/key_dense": _heads(of("self_attn.k_proj"), keys),
            "attention/value_dense": _heads(of("self_attn.v_proj"), keys),
            "attention/output_dense": of("self_attn.o_proj").T.reshape(heads, -1, config["hidden_size"]),
            "gating_ffw": of("mlp.gate_proj").T,
            "gating_ffw_2": of("mlp.up_proj").T,
            "ffw_linear": of("mlp.down_proj").T,
        }
        group = "gemma_decoder_block" + (f"_{layer}" if layer else "")
        datasets |= {f"layers/{group}/{name}/vars/0": array for name, array in block.items()}
    return datasets


def nested_otherwise(datasets: Tensors) -> Tensors:
    """Datasets under the names of older writers."""
    renamed = {}
    for name, array in datasets.items():
        name = name.replace("layers/", "_layer_checkpoint_dependencies/").replace("gemma_decoder", "decoder")
        name = name.replace("decoder_block/", "decoder_block_0/").replace("reversible_embedding", "token_embedding")
        renamed[name.replace("rms_normalization", "final_normalization")] = array
    return renamed


def keras_config(config: Mapping[str, Any], **changed: object) -> dict[str, Any]:
    """The `config.json` of a KerasHub preset."""
    fields = {
        "vocabulary_size": config["vocab_size"],
        "num_layers": config["num_hidden_layers"],
        "num_query_heads": config["num_attention_heads"],
        "num_key_value_heads": config["num_key_value_heads"],
        "hidden_dim": config["hidden_size"],
        "intermediate_dim": 2 * config["intermediate_size"],
        "head_dim": config["head_dim"],
        "layer_norm_epsilon": config["rms_norm_eps"],
        "query_head_dim_normalize": True,
        "use_post_ffw_norm": False,
        "final_logit_soft_cap": None,
    }
    return {"class_name": "GemmaBackbone", "config": fields | changed}


def write_keras(directory: Path, config: Mapping[str, Any], datasets: Tensors, shards: int | None = None) -> Path:
    """Writes a preset without a tokenizer; datasets go to shards in turn."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(keras_config(config)))
    if shards is None:
        write_hdf5(directory / "model.weights.h5", datasets)
        return directory
    files = [f"model_{shard:05}.weights.h5" for shard in range(shards)]
    places = {name: files[number % shards] for number, name in enumerate(datasets)}
    for file in files:
        write_hdf5(directory / file, {name: datasets[name] for name, place in places.items() if place == file})
    weight_map = {f"/{name.removesuffix('/0')}": place for name, place in places.items()}
    (directory / "model.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def write_hdf5(file: Path, datasets: Tensors) -> None:
    """Writes arrays as Keras does: HDF5 has no bfloat16, which is opaque bytes with an attribute."""
    with h5py.File(file, "w") as opened:
        opened.create_group("layers/input_layer/vars").attrs["name"] = "token_ids"
        for name, array in datasets.items():
            if array.dtype == ml_dtypes.bfloat16:
                opened.create_dataset(name, data=array.view("V2")).attrs["dtype"] = "bfloat16"
            else:
                opened.create_dataset(name, data=array)


def gemma_pytorch_tensors(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    """The tensors under the names of gemma_pytorch."""
    renamed = {
        "embedder.weight": tensors["model.embed_tokens.weight"],
        "model.norm.weight": tensors["model.norm.weight"],
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        block = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        block["self_attn.qkv_proj.weight"] = np.concatenate(
            [block.pop(f"self_attn.{part}_proj.weight") for part in "qkv"]
        )
        renamed |= {prefix + name: array for name, array in block.items()}
    positions = 2 * config["max_position_embeddings"]
    return renamed | {"freqs_cis": np.ones((positions, config["head_dim"] // 2), np.complex64)}


def quantised_gemma_pytorch(tensors: Tensors) -> Tensors:
    """Matrices as int8 with a scale for each row."""
    stored: Tensors = {}
    for name, array in tensors.items():
        if array.ndim < 2 or name == "freqs_cis":
            stored[name] = array
            continue
        scales = (np.abs(array).max(1) / 127).astype(np.float32)
        stored[name] = np.rint(array / scales[:, None]).astype(np.int8)
        stored[name.removesuffix("weight") + "weight_scaler"] = scales
    return stored


def write_gemma_pytorch(path: Path, tensors: Tensors, shards: int | None = None) -> Path:
    """Writes a `.ckpt`, or a directory of shards, to which tensors go in turn."""
    if shards is None:
        return write_torch_file(path, {"model_state_dict": tensors})
    path.mkdir(parents=True)
    files = [f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin" for shard in range(shards)]
    places = {name: files[number % shards] for number, name in enumerate(tensors)}
    for file in files:
        write_torch_file(path / file, {name: tensors[name] for name, place in places.items() if place == file})
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def _heads(matrix: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Of [heads * size, width]: [heads, width, size]."""
    return matrix.reshape(heads, -1, matrix.shape[1]).transpose(0, 2, 1)
